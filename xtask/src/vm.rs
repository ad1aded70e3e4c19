//! `cargo xtask vm`: a program of this machine in a virtual machine with Debian's kernel and cgroup v2 only.
//!
//! It sees the files of this machine at their paths, so that nothing has to be copied or installed for it. What it writes
//! is forgotten with the machine, but for one directory. The processor is emulated, as nested virtualization is seldom to
//! be had: programs run about ten times as long.

mod kernel;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;

use crate::run::{Result, is_installed, root, run};
use kernel::Kernel;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Seconds after which the machine is switched off
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    deadline: u64,
    /// The program and its arguments. What it writes below target/vm/shared is kept
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the command and returns its exit code.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    if let Some(reason) = missing() {
        return Err(reason.into());
    }
    let shared = root().join("target/vm/shared");
    fs::create_dir_all(&shared)?;
    Job {
        command: arguments.command.clone(),
        environment: Vec::new(),
        directory: std::env::current_dir()?,
        shared: Some(shared),
        deadline: Duration::from_secs(arguments.deadline),
    }
    .run()
}

/// Why there can be no virtual machine here, with the way out.
pub(crate) fn missing() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("virtual machines are set up for x86_64 only".to_owned());
    }
    let programs = [
        ("qemu-system-x86_64", "--version", "qemu-system-x86"),
        ("busybox", "--help", "busybox-static"),
        ("modprobe", "--version", "kmod"),
        ("dpkg-deb", "--version", "dpkg"),
        ("mkfs.ext4", "-V", "e2fsprogs"),
        ("timeout", "--version", "coreutils"),
    ];
    let is_missing =
        |(program, option, _): &(&str, &str, &str)| !is_installed(Command::new(program).arg(option));
    programs
        .into_iter()
        .find(is_missing)
        .map(|(program, _, package)| {
            format!("`{program}` is missing; install it: apt-get install --no-install-recommends {package}")
        })
}

/// What the initramfs has to load to reach the host's files, and what udev would make loop devices of; the kernel loads the rest
/// by itself.
const MODULES: [&str; 10] = [
    "loop",
    "virtio_blk",
    "quota_v2",
    "ext4",
    "virtio_pci",
    "virtio_console",
    "virtio-rng",
    "9p",
    "9pnet_virtio",
    "overlay",
];

/// Those of this machine that programs are found by, or that change what the program says.
const VARIABLES: [&str; 6] = [
    "PATH",
    "HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUST_BACKTRACE",
];

const DISK_BYTES: u64 = 16 << 30;

const MEMORY_MIB: u32 = 4096;

/// A command to be run in a machine of its own.
pub(crate) struct Job {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Variables beside those that say where programs are.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    /// The directory in which what it writes is kept, if there is one.
    pub(crate) shared: Option<PathBuf>,
    /// After which it is given up.
    pub(crate) deadline: Duration,
}

impl Job {
    /// Runs it, with its output as ours, and returns its exit code.
    ///
    /// # Errors
    ///
    /// The machine did not come up, or not to an end in time; its last words are in the error.
    pub(crate) fn run(&self) -> Result<u8> {
        let kernel = Kernel::in_directory(&root().join("target/vm/kernel"))?;
        let files = Files::make()?;
        fs::write(files.command(), self.script()?)?;
        initramfs(&kernel, &files)?;
        files.make_disk()?;
        let status = stream(self.qemu(&kernel, &files))?;
        let code = fs::read_to_string(files.exit_code()).unwrap_or_default();
        // The machine had told it, whatever became of it then.
        if let Ok(code) = code.trim().parse() {
            return Ok(code);
        }
        Err(self.failure(status, &files).into())
    }

    /// What the first process becomes in the end.
    fn script(&self) -> Result<String> {
        let mut script = format!("cd {} || exit\n", quoted(path(&self.directory)?));
        let inherited = VARIABLES
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let own = [("TMPDIR".to_owned(), "/run/disk/tmp".to_owned())];
        for (name, value) in inherited.chain(own).chain(self.environment.iter().cloned()) {
            script += &format!("export {name}={}\n", quoted(&value));
        }
        let command: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        // The ports of the machine: see `qemu`. No program of the host takes part in the end.
        script += &format!(
            "{} </dev/null >/dev/virtio-ports/output 2>&1\n",
            command.join(" ")
        );
        script += "echo $? >/dev/virtio-ports/code\necho o >/proc/sysrq-trigger\nread -r _ </dev/console\n";
        Ok(script)
    }

    fn qemu(&self, kernel: &Kernel, files: &Files) -> Command {
        let mut qemu = Command::new("timeout");
        qemu.args(["--foreground", "--kill-after=10"])
            .arg(self.deadline.as_secs().to_string())
            .arg("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max"]);
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 4));
        qemu.args(["-smp", &processors.to_string(), "-m", &MEMORY_MIB.to_string()]);
        qemu.arg("-kernel")
            .arg(kernel.image())
            .arg("-initrd")
            .arg(files.initramfs());
        // A panic ends it: to reboot is to leave.
        let mut append = "console=ttyS0 quiet panic=-1 cgroup_no_v1=all".to_owned();
        let shared = self.shared.clone().map(|shared| ("SHARED", shared));
        let places = [("MODULES", kernel.modules()), ("COMMAND", files.command())];
        for (name, place) in places.into_iter().chain(shared) {
            append += &format!(" {name}={}", place.display());
        }
        qemu.args(["-append", &append]);
        // Lost with the machine anyway.
        let disk = "if=virtio,format=raw,cache=unsafe,file=";
        qemu.arg("-drive").arg(option(disk, &files.disk()));
        qemu.arg("-serial").arg(option("file:", &files.console()));
        qemu.args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]);
        qemu.args([
            "-chardev",
            "stdio,id=output,signal=off",
            "-device",
            "virtserialport,chardev=output,name=output",
        ]);
        qemu.arg("-chardev")
            .arg(option("file,id=code,path=", &files.exit_code()));
        qemu.args(["-device", "virtserialport,chardev=code,name=code"]);
        qemu.args([
            "-virtfs",
            "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        ]);
        if let Some(shared) = &self.shared {
            qemu.arg("-virtfs").arg(option(
                "local,mount_tag=shared,security_model=none,multidevs=remap,path=",
                shared,
            ));
        }
        qemu
    }

    fn failure(&self, status: ExitStatus, files: &Files) -> String {
        let console = fs::read(files.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        let what = match status.code() {
            // As timeout(1) tells it.
            Some(124 | 137) => format!(
                "the machine was switched off: `{}` did not end within {} s",
                self.command.join(" "),
                self.deadline.as_secs()
            ),
            _ => format!("the machine ended without an exit code of the command ({status})"),
        };
        format!("{what}; the end of its console:\n{tail}")
    }
}

/// Runs the machine and copies its output to ours until it ends.
fn stream(mut qemu: Command) -> Result<ExitStatus> {
    // Its stdin stays open: without one the machine's port would be disconnected, and writers to it would wait.
    let child = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cannot run timeout: {error}"))?;
    let copied = match child.stdout.take() {
        // A pipe of its own: qemu makes its stdout non-blocking for everybody who has it.
        Some(mut output) => io::copy(&mut output, &mut io::stdout()),
        None => Ok(0),
    };
    if let Err(error) = copied {
        end(&mut child)?;
        return Err(error.into());
    }
    // `wait` alone would close its stdin first.
    let _stdin = child.stdin.take();
    Ok(child.wait()?)
}

/// Nobody reads what it says.
fn end(child: &mut Child) -> Result {
    run(Command::new("kill").arg(child.id().to_string()))?;
    child.wait()?;
    Ok(())
}

/// The files of one run, which are gone after it.
struct Files(PathBuf);

impl Files {
    fn make() -> Result<Self> {
        let runs = root().join("target/vm");
        fs::create_dir_all(&runs)?;
        remove_abandoned(&runs)?;
        let directory = runs.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(Self(directory))
    }

    /// An empty file system, which takes room when it is written.
    fn make_disk(&self) -> Result {
        fs::File::create(self.disk())?.set_len(DISK_BYTES)?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-O", "quota,project"])
            .arg(self.disk()))
    }

    fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }

    fn command(&self) -> PathBuf {
        self.0.join("command")
    }

    fn initramfs(&self) -> PathBuf {
        self.0.join("initramfs")
    }

    fn console(&self) -> PathBuf {
        self.0.join("console")
    }

    fn exit_code(&self) -> PathBuf {
        self.0.join("exit-code")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the files of runs that were interrupted.
fn remove_abandoned(runs: &Path) -> Result {
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("run-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Packs what it takes to reach the host's files.
fn initramfs(kernel: &Kernel, files: &Files) -> Result {
    let tree = files.0.join("tree");
    for directory in ["bin", "modules"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    let mut order = String::new();
    for file in kernel.files_of(&MODULES)? {
        let name = file.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        fs::copy(&file, tree.join("modules").join(name.as_ref()))?;
        order += &format!("{name}\n");
    }
    fs::write(tree.join("modules/order"), order)?;
    let script = "cp \"$(command -v busybox)\" bin/busybox && chmod 755 init && find . | busybox cpio -o -H newc 2>../cpio.log >../initramfs";
    fs::write(tree.join("init"), include_str!("vm/init.sh"))?;
    run(Command::new("sh").args(["-ec", script]).current_dir(tree))
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// An option of qemu that ends with a path; a comma in it is doubled.
fn option(start: &str, path: &Path) -> String {
    format!("{start}{}", path.display().to_string().replace(',', ",,"))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| format!("{} is not Unicode", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_for_the_shell() {
        for word in ["", "a b", "it's", "$HOME `id`", "line\nbreak", r"back\slash"] {
            let script = format!("printf %s {}", quoted(word));
            let said = Command::new("sh")
                .args(["-c", &script])
                .output()
                .map(|output| output.stdout);
            assert_eq!(said.ok().as_deref(), Some(word.as_bytes()));
        }
    }
}
