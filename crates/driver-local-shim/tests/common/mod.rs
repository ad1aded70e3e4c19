//! A container directory, a root of busybox, and a spawned shim, as the driver would have it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod running;

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use driver_local_shim::*;

const BUSYBOX: &str = "/bin/busybox";

/// Why the tests of this file cannot run here, if they cannot.
pub fn skipped() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: root is needed to make containers without a user namespace");
    }
    !is_root || lacks_busybox()
}

/// Likewise for those that need no root.
pub fn lacks_busybox() -> bool {
    let reason = if !Path::new(BUSYBOX).exists() {
        "/bin/busybox is missing (package busybox-static)"
    } else {
        return false;
    };
    eprintln!("skipped: {reason}");
    true
}

/// Directories of a container.
pub struct Place {
    pub temp: tempfile::TempDir,
    pub cgroups: Vec<PathBuf>,
}

impl Place {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let place = Self {
            temp,
            cgroups: Vec::new(),
        };
        let layer = place.layer();
        for directory in ["bin", "etc", "tmp", "root", "data", "closed"] {
            fs::create_dir_all(layer.join(directory)).unwrap();
        }
        for name in ["proc", "sys", "dev"] {
            fs::create_dir_all(place.mountpoints().join(name)).unwrap();
        }
        for directory in ["container", "disk/upper", "disk/work", "top"] {
            fs::create_dir_all(place.temp.path().join(directory)).unwrap();
        }
        fs::copy(BUSYBOX, layer.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "echo", "cat", "ls", "id", "sleep", "true", "stat", "mount", "ps", "stty", "readlink",
            "head", "hostname", "dd", "kill", "pwd", "mkdir", "chown", "touch", "setsid", "env", "grep",
            "wc", "ip", "seq", "mknod", "ulimit", "df", "tail", "yes",
        ] {
            std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet)).unwrap();
        }
        fs::set_permissions(layer.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(
            layer.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/data:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            layer.join("etc/group"),
            "root:x:0:\nada:x:1001:\nextra:x:3000:ada\n",
        )
        .unwrap();
        place
    }

    pub fn layer(&self) -> PathBuf {
        self.temp.path().join("layer")
    }

    /// The lowest layer.
    pub fn mountpoints(&self) -> PathBuf {
        self.temp.path().join("mountpoints")
    }

    pub fn directory(&self) -> PathBuf {
        self.temp.path().join("container")
    }

    pub fn text(&self, path: &str) -> String {
        self.temp.path().join(path).to_str().unwrap().to_owned()
    }

    /// A task that runs a shell script as root without rights.
    pub fn script(&self, script: &str) -> RunTask {
        self.task(&["/bin/sh", "-c", script])
    }

    pub fn task(&self, argv: &[&str]) -> RunTask {
        RunTask {
            directory: self.text("container"),
            run: 0,
            boot_id: "this-boot".to_owned(),
            sandbox: self.sandbox(),
            cgroups: Vec::new(),
            process: Process {
                argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
                env: vec!["PATH=/bin".to_owned()],
                working_dir: "/".to_owned(),
                rights: Rights {
                    identity: Identity {
                        user: "0".to_owned(),
                        group: None,
                    },
                    capabilities: 0,
                    no_new_privileges: true,
                    seccomp: None,
                },
            },
            init: true,
            stdin: false,
            tty: false,
            log: LogPolicy {
                max_file_bytes: 16 << 20,
                max_files: 4,
            },
        }
    }

    pub fn sandbox(&self) -> Sandbox {
        Sandbox {
            hostname: "inside".to_owned(),
            network: NetworkNamespace::New,
            user: None,
            root: Root {
                lower: ["top", "layer", "mountpoints"]
                    .map(|name| self.text(name))
                    .to_vec(),
                writable: None,
            },
            mounts: Vec::new(),
            working_dir: "/".to_owned(),
            shm_bytes: 1 << 20,
        }
    }

    pub fn writable(&self) -> Option<Writable> {
        Some(Writable {
            upper: self.text("disk/upper"),
            work: self.text("disk/work"),
        })
    }

    /// A cgroup of version 1 for this test alone; `None` where there is no such hierarchy.
    pub fn cgroup(&mut self, controller: &str) -> Option<Cgroup> {
        let parent = format!("/sys/fs/cgroup/{controller}");
        if !Path::new(&parent).join("tasks").exists() {
            eprintln!("skipped: no cgroup of version 1 with {controller}");
            return None;
        }
        let path = self.new_cgroup(&parent);
        Some(Cgroup::V1(path))
    }

    /// A cgroup of version 2 for this test alone; `None` where there is no such hierarchy.
    pub fn cgroup_v2(&mut self) -> Option<Cgroup> {
        let parents = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let parent = parents
            .iter()
            .find(|parent| Path::new(parent).join("cgroup.procs").exists());
        let Some(parent) = parent else {
            eprintln!("skipped: no cgroup of version 2");
            return None;
        };
        let path = self.new_cgroup(parent);
        Some(Cgroup::V2(path))
    }

    fn new_cgroup(&mut self, parent: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("{parent}/shim-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        self.cgroups.push(path.clone());
        path.to_str().unwrap().to_owned()
    }

    /// Runs a task to its end.
    pub fn run(&self, task: RunTask) -> Ended {
        let mut shim = Shim::spawn(Task::Run(Box::new(task)));
        match shim.report() {
            Report::Started { .. } => {}
            other => panic!("{other:?}"),
        }
        self.end(shim)
    }

    /// Waits for the end of a run that has begun.
    pub fn end(&self, mut shim: Shim) -> Ended {
        assert!(shim.child.wait().unwrap().success());
        self.ended()
    }

    pub fn ended(&self) -> Ended {
        let (out, err) = self.log();
        Ended {
            out,
            err,
            journal: fs::read_to_string(self.directory().join("journal")).unwrap(),
        }
    }

    pub fn fails(&self, task: RunTask) -> (Stage, Option<u8>, String) {
        let mut shim = Shim::spawn(Task::Run(Box::new(task)));
        let failed = match shim.report() {
            Report::Failed {
                stage,
                exit_code,
                message,
                ..
            } => (stage, exit_code, message),
            other => panic!("{other:?}, {:?}", self.end(shim)),
        };
        assert!(!shim.child.wait().unwrap().success());
        let journal = fs::read_to_string(self.directory().join("journal")).unwrap();
        // But for its first process, where no cgroup tells of that.
        let mut records = journal.lines();
        let is_first = |record: &str| record.starts_with("{\"forked\":");
        assert!(
            records.next().is_none_or(is_first) && records.next().is_none(),
            "a run that did not begin is not in the journal: {journal}"
        );
        self.nothing_left();
        failed
    }

    /// The log: stdout and stderr, without a frame that the shim is just writing.
    pub fn log(&self) -> (String, String) {
        let mut streams = [Vec::new(), Vec::new()];
        for file in self.log_files() {
            let bytes = fs::read(&file).unwrap();
            let mut rest = bytes.as_slice();
            while let Some((header, after)) = rest.split_first_chunk::<{ log::HEADER }>() {
                let (stream, length, time) = log::parse(header).expect("a header");
                assert!(time > 1_600_000_000_000, "{time}");
                if after.len() < length {
                    rest = &[];
                    break;
                }
                streams[usize::from(stream) - 1].extend(&after[..length]);
                rest = &after[length..];
            }
            assert!(rest.is_empty());
        }
        let [out, err] = streams.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (out, err)
    }

    pub fn log_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.directory().join("log"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        files
    }

    /// Only what is meant to stay is in the container's directory, and nothing is mounted on this machine.
    pub fn nothing_left(&self) {
        let mut names: Vec<_> = fs::read_dir(self.directory())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["journal", "log", "shim.lock"]);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let here = self.temp.path().to_str().unwrap();
        assert!(!mounts.contains(here), "{mounts}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for cgroup in &self.cgroups {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// A run that ended.
#[derive(Debug)]
pub struct Ended {
    pub out: String,
    pub err: String,
    pub journal: String,
}

impl Ended {
    /// The record of the end, without its time.
    pub fn exited(&self) -> &str {
        let last = self.journal.lines().last().unwrap();
        last.split_once(",\"at\"").unwrap().0
    }

    pub fn code(&self, code: u8) -> &Self {
        let expected =
            format!("{{\"exited\":{{\"run\":0,\"code\":{code},\"signal\":null,\"oom\":false,\"clean\":true");
        assert_eq!(self.exited(), expected, "{self:?}");
        self
    }

    pub fn signal(&self, signal: u8) -> &Self {
        let code = 128 + signal;
        let expected = format!(
            "{{\"exited\":{{\"run\":0,\"code\":{code},\"signal\":{signal},\"oom\":false,\"clean\":true"
        );
        assert_eq!(self.exited(), expected, "{self:?}");
        self
    }
}

/// A spawned shim and the driver's end of its socket.
pub struct Shim {
    pub child: Child,
    /// Pid 1 of the container that it runs.
    init: Option<i32>,
    pub socket: UnixStream,
}

impl Shim {
    pub fn spawn(task: Task) -> Self {
        Self::idle().with(&task)
    }

    /// Gives it a task. The cgroups of a run are there already.
    pub fn with(self, task: &Task) -> Self {
        let made = matches!(task, Task::Run(_)).then_some(RunCgroups::Made as u8);
        self.send(task, made)
    }

    /// Likewise a run whose cgroups are those of a process that was made ahead.
    pub fn with_taken(self, task: RunTask) -> Self {
        self.send(&Task::Run(Box::new(task)), Some(RunCgroups::Taken as u8))
    }

    fn send(mut self, task: &Task, cgroups: Option<u8>) -> Self {
        let mut message = encode(task);
        message.extend(cgroups);
        std::io::Write::write_all(&mut self.socket, &message).unwrap();
        self
    }

    pub fn idle() -> Self {
        Self::idle_as(0)
    }

    /// A shim without a task, as another user where this one is root.
    pub fn idle_as(user: u32) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        // Another build of the shim, for example the static one, can be tested too.
        let program =
            std::env::var_os("DRIVER_LOCAL_SHIM").unwrap_or_else(|| env!("CARGO_BIN_EXE_shim").into());
        let mut command = Command::new(program);
        if nix::unistd::geteuid().is_root() {
            command.uid(user).gid(user);
        }
        let child = command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            init: None,
            socket,
        }
    }

    pub fn report(&mut self) -> Report {
        decode(&mut self.socket).unwrap()
    }

    /// Spawns a run; gives the pid of its init as well.
    pub fn start(task: RunTask) -> (Self, i32) {
        let (shim, pid, _) = Self::begin(task);
        (shim, pid)
    }

    /// Spawns a run; gives the pid of its init and when that was started.
    pub fn begin(task: RunTask) -> (Self, i32, u64) {
        let mut shim = Self::spawn(Task::Run(Box::new(task)));
        match shim.report() {
            Report::Started {
                init_pid,
                init_start_time,
            } => {
                shim.init = Some(init_pid);
                (shim, init_pid, init_start_time)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.socket.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

/// A test that fails leaves nothing behind.
impl Drop for Shim {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            if let Some(init) = self.init.take() {
                kill(init, 9);
            }
            let _ = self.socket.shutdown(std::net::Shutdown::Both);
            let _ = self.child.wait();
        }
    }
}

/// Waits for something that another process does; the limit is for broken shims only.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < give_up, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a signal to a process that this test started.
pub fn kill(pid: i32, signal: i32) {
    let status = Command::new("/bin/kill")
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

/// All that this process has.
pub fn own_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let permitted = status
        .lines()
        .find_map(|line| line.strip_prefix("CapPrm:\t"))
        .unwrap();
    u64::from_str_radix(permitted, 16).unwrap()
}
