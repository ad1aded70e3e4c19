//! An engine for one test: an owner of its own, an image of its own, and nothing left at the end.

use std::process::{Child, Command, Stdio};

use driver_types::ContainerInstance;

use crate::support::{Ran, driver, ran};

/// A real engine, seen as an owner that nobody else uses.
pub(crate) struct Engine {
    owner: String,
    host: Option<String>,
    /// The reference of an image with busybox.
    pub(crate) image: String,
}

/// The programs that the image has.
const APPLETS: [&str; 14] = [
    "sh", "cat", "echo", "sleep", "id", "ls", "stty", "true", "yes", "wc", "head", "env", "pwd", "touch",
];

impl Engine {
    /// An engine for a test of this name; `None`, with the reason on stderr, where there is none.
    pub(crate) fn open(test: &str) -> Option<Self> {
        let unique = format!("cli-{test}-{}", std::process::id());
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let engine = Self {
            image: format!("{unique}:1"),
            owner: unique,
            host: variable("DRIVER_CONFORMANCE_DOCKER_HOST").or_else(|| variable("DOCKER_HOST")),
        };
        let health = engine.run(&["health"]);
        let busybox = std::fs::read("/bin/busybox");
        let missing = match (&health, &busybox) {
            (health, _) if health.code != 0 => {
                format!("no Docker Engine: {}{}", health.stdout, health.stderr)
            }
            (_, Err(error)) => format!("/bin/busybox (Debian: busybox-static): {error}"),
            (_, Ok(busybox)) => {
                engine.import(busybox);
                return Some(engine);
            }
        };
        let required = variable("DRIVER_REQUIRE_DOCKER").is_some_and(|value| value != "0");
        assert!(!required, "DRIVER_REQUIRE_DOCKER is set, and there is {missing}");
        eprintln!("skipped: {missing}");
        None
    }

    fn import(&self, busybox: &[u8]) {
        let mut archive = tar::Builder::new(Vec::new());
        let mut entry = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8], link: Option<&str>| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            match link {
                Some(target) => archive.append_link(&mut header, path, target).unwrap(),
                None => archive.append_data(&mut header, path, content).unwrap(),
            }
        };
        entry("bin/busybox", tar::EntryType::Regular, 0o755, busybox, None);
        for applet in APPLETS {
            entry(
                &format!("bin/{applet}"),
                tar::EntryType::Symlink,
                0o777,
                b"",
                Some("busybox"),
            );
        }
        entry(
            "etc/passwd",
            tar::EntryType::Regular,
            0o644,
            b"root:x:0:0::/:/bin/sh\n",
            None,
        );
        entry("work/", tar::EntryType::Directory, 0o1777, b"", None);
        let archive = archive.into_inner().unwrap();
        let mut command = self.command();
        command.args([
            "image",
            "import",
            "-",
            &self.image,
            "--command",
            "sh",
            "--env",
            "PATH=/bin",
        ]);
        let imported = ran(command.write_stdin(archive));
        assert_eq!(imported.code, 0, "{imported:?}");
    }

    /// The program on this engine.
    pub(crate) fn command(&self) -> assert_cmd::Command {
        let mut command = driver();
        command.envs(self.environment());
        command
    }

    /// The program on this engine, to be started and talked to.
    pub(crate) fn std_command(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("driver"));
        command.envs(self.environment());
        command
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let host = self.host.as_deref().map(|host| ("DOCKER_HOST", host));
        [("DRIVER", "docker"), ("DRIVER_OWNER", self.owner.as_str())]
            .into_iter()
            .chain(host)
            .collect()
    }

    /// Runs the program with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command().args(arguments))
    }

    /// Starts the program with all its streams as pipes.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.std_command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// A container that runs until it is removed; its name.
    pub(crate) fn idle(&self, flags: &[&str]) -> String {
        let name = format!("{}-idle", self.owner);
        let mut arguments = vec!["run", "-d", "--name", &name];
        arguments.extend(flags);
        arguments.extend([self.image.as_str(), "sleep", "1000"]);
        let started = self.run(&arguments);
        assert_eq!(started.code, 0, "{started:?}");
        name
    }

    /// All containers of the owner.
    pub(crate) fn containers(&self) -> Vec<ContainerInstance> {
        self.run(&["--format", "json", "ps", "-a"]).json()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let remove = |arguments: &[&str]| drop(self.command().args(arguments).output());
        let left = self.command().args(["ps", "-a", "-q", "--no-trunc"]).output();
        let left = left
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        for id in left.lines() {
            remove(&["rm", "-f", "-v", id]);
        }
        remove(&["image", "rm", &self.image]);
    }
}
