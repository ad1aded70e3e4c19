//! `cargo xtask engine`: a private Docker Engine for tests.
//!
//! It runs in a network namespace of its own, so that its bridges and packet filter rules touch nothing of the
//! host's, with its own data, socket and pid file.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::run::{Result, is_installed, root, run};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    action: Action,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    /// Start it; one that runs is left as it is
    Up,
    /// Stop it and remove everything of it
    Down,
    /// Say whether it runs, and where
    Status,
}

pub(crate) fn main(arguments: &Arguments) -> Result {
    let engine = Engine::of_this_checkout();
    match arguments.action {
        Action::Up => engine.up()?,
        Action::Down => engine.down()?,
        Action::Status => {}
    }
    match engine.is_up() {
        true => println!("engine is up: DOCKER_HOST={}", engine.host()),
        false => println!("engine is down"),
    }
    Ok(())
}

/// The engine of a checkout; its places follow from the checkout's path.
pub(crate) struct Engine {
    /// The name of the network namespace.
    namespace: String,
    /// Socket, pid files and logs: short, for a socket path has at most 107 bytes.
    runtime: PathBuf,
    /// Images and layers: on the disk of the checkout, as overlay wants a real file system.
    data: PathBuf,
}

impl Engine {
    pub(crate) fn of_this_checkout() -> Self {
        let mut hasher = DefaultHasher::new();
        root().hash(&mut hasher);
        let key = format!("{:08x}", hasher.finish() as u32);
        Self {
            namespace: format!("driver-engine-{key}"),
            runtime: Path::new("/run/driver-engine").join(key),
            data: root().join("target/engine"),
        }
    }

    /// The value for `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What a conformance run needs to know of this engine, as environment variables.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DRIVER_CONFORMANCE_DOCKER_HOST", self.host()),
            ("DRIVER_CONFORMANCE_NETNS", self.namespace.clone()),
        ]
    }

    /// Whether it answers.
    pub(crate) fn is_up(&self) -> bool {
        ping(&self.socket()).unwrap_or(false)
    }

    fn socket(&self) -> PathBuf {
        self.runtime.join("docker.sock")
    }

    fn pid_file(&self) -> PathBuf {
        self.runtime.join("dockerd.pid")
    }

    fn up(&self) -> Result {
        if self.is_up() {
            return Ok(());
        }
        check_host()?;
        self.down()?;
        fs::create_dir_all(&self.runtime)?;
        fs::create_dir_all(&self.data)?;
        run(Command::new("ip").args(["netns", "add", &self.namespace]))?;
        run(Command::new("ip").args(["-n", &self.namespace, "link", "set", "lo", "up"]))?;
        self.start_dockerd()?;
        if let Err(error) = self.wait_until_up() {
            let log = fs::read_to_string(self.runtime.join("dockerd.log")).unwrap_or_default();
            let tail = log
                .lines()
                .rev()
                .take(20)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join("\n");
            self.down()?;
            return Err(format!("{error}; the end of its log:\n{tail}").into());
        }
        Ok(())
    }

    fn start_dockerd(&self) -> Result {
        let mut dockerd = self.in_namespace("dockerd");
        dockerd.arg("--data-root").arg(self.data.join("data"));
        dockerd.arg("--exec-root").arg(self.runtime.join("exec"));
        dockerd.arg("--pidfile").arg(self.pid_file());
        dockerd.arg("--host").arg(self.host());
        self.spawn(dockerd, "dockerd.log")
    }

    /// `nsenter`, not `ip netns exec`: that one hides the cgroup mounts.
    fn in_namespace(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .arg(program);
        command
    }

    /// Starts a daemon that outlives this program.
    fn spawn(&self, mut command: Command, log: &str) -> Result {
        let log = fs::File::create(self.runtime.join(log))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        command
            .spawn()
            .map_err(|error| format!("cannot start nsenter: {error}"))?;
        Ok(())
    }

    fn wait_until_up(&self) -> Result {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.is_up() {
            if Instant::now() > deadline {
                return Err("dockerd did not answer within 60 seconds".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn down(&self) -> Result {
        end(&self.pid_file())?;
        unmount_below(&[&self.runtime, &self.data])?;
        if Path::new("/run/netns").join(&self.namespace).exists() {
            run(Command::new("ip").args(["netns", "delete", &self.namespace]))?;
        }
        for directory in [&self.runtime, &self.data] {
            if directory.exists() {
                fs::remove_dir_all(directory)
                    .map_err(|error| format!("cannot remove {}: {error}", directory.display()))?;
            }
        }
        Ok(())
    }
}

fn check_host() -> Result {
    let status = fs::read_to_string("/proc/self/status")?;
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        return Err(
            "a private engine needs root; without it, set DOCKER_HOST to an engine that you may use".into(),
        );
    }
    for (program, package) in [
        ("dockerd", "docker.io"),
        ("nsenter", "util-linux"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
    ] {
        let version = if program == "ip" { "-V" } else { "--version" };
        if !is_installed(Command::new(program).arg(version)) {
            return Err(format!(
                "`{program}` is missing; install it: apt-get install --no-install-recommends {package}"
            )
            .into());
        }
    }
    Ok(())
}

/// Unmounts what a killed dockerd leaves mounted in its own directories: layers, and the namespaces of containers.
fn unmount_below(directories: &[&Path]) -> Result {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new);
    let ours = points.filter(|point| directories.iter().any(|directory| point.starts_with(directory)));
    // The last one mounted may lie inside an earlier one.
    for point in ours.collect::<Vec<_>>().into_iter().rev() {
        run(Command::new("umount").arg(point))?;
    }
    Ok(())
}

fn pid_of(file: &Path) -> Option<String> {
    let pid = fs::read_to_string(file).ok()?.trim().to_owned();
    Path::new("/proc").join(&pid).exists().then_some(pid)
}

/// Ends the process of a pid file: TERM, and KILL after 30 seconds.
fn end(pid_file: &Path) -> Result {
    let Some(pid) = pid_of(pid_file) else {
        return Ok(());
    };
    run(Command::new("kill").args(["-TERM", &pid]))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while is_running(&pid) {
        if Instant::now() > deadline {
            return run(Command::new("kill").args(["-KILL", &pid]));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A zombie counts as ended: whoever started it has not reaped it yet.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}

fn ping(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}
