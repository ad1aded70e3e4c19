//! What else runs a container here. Each that is missing is left out with its reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::IDLE;

const TRUE: [&str; 2] = ["/bin/busybox", "true"];

/// The source of the floor, built when the benchmark runs: it needs a C compiler and libseccomp.
const FLOOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/local/floor.c");

pub(crate) struct Rivals {
    floor: Option<PathBuf>,
    root: PathBuf,
    scratch: PathBuf,
    pub(crate) lifecycles: Vec<Rival>,
}

/// Something that runs `true` in a container from beginning to end.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    way: Way,
}

enum Way {
    /// Measures itself, and prints a sample a line.
    Floor(Vec<String>),
    /// One process a container.
    Run(Box<dyn Fn(usize) -> Command>),
}

/// All that are here, with `root` as root file system and scratch space beside it. The floor comes first.
pub(crate) fn all(root: &Path) -> Rivals {
    let scratch = root.with_file_name("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let mut rivals = Rivals {
        floor: build_floor(&scratch),
        root: root.to_owned(),
        scratch,
        lifecycles: Vec::new(),
    };
    rivals.lifecycles = [
        rivals.of_floor(),
        rivals.bwrap(),
        rivals.of_bundle("crun", "crun run"),
        rivals.of_bundle("runc", "runc run"),
        rivals.docker(),
    ]
    .into_iter()
    .flatten()
    .collect();
    rivals
}

fn build_floor(scratch: &Path) -> Option<PathBuf> {
    let program = scratch.join("floor");
    let built = Command::new("cc")
        .args(["-O2", "-static", "-o"])
        .arg(&program)
        .args([FLOOR, "-lseccomp"])
        .stderr(Stdio::null())
        .status();
    if built.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    left_out(
        "floor",
        "no C compiler, or no libseccomp: install gcc and libseccomp-dev",
    );
    None
}

fn left_out(name: &str, reason: &str) {
    println!("left out: {name}: {reason}");
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

impl Rivals {
    fn floor_arguments(&self) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec!["-r".into(), text(&self.root), "-s".into(), text(&self.scratch)]
    }

    fn of_floor(&self) -> Option<Rival> {
        let mut words = vec![self.floor.as_ref()?.to_str().unwrap().to_owned()];
        words.extend(self.floor_arguments());
        Some(Rival {
            name: "floor",
            way: Way::Floor(words),
        })
    }

    /// Times of `true` in the namespaces of a process.
    pub(crate) fn join(&self, init: i32, count: usize) -> Vec<Duration> {
        let Some(floor) = &self.floor else {
            return Vec::new();
        };
        let words = [floor.to_str().unwrap().to_owned(), "-x".into(), init.to_string()];
        samples(&words, count)
    }

    /// The floor's lifecycles a second.
    pub(crate) fn rate(&self, workers: usize, each: usize) -> Option<f64> {
        let output = Command::new(self.floor.as_ref()?)
            .args(self.floor_arguments())
            .args(["-j", &workers.to_string(), "-n", &each.to_string()])
            .args(TRUE)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let rate = text.lines().find_map(|line| line.strip_prefix("throughput "))?;
        rate.split_whitespace().next()?.parse().ok()
    }

    fn bwrap(&self) -> Option<Rival> {
        if !is_installed("bwrap") {
            left_out("bwrap", "install bubblewrap");
            return None;
        }
        let root = self.root.clone();
        Some(Rival {
            name: "bwrap --unshare-all",
            way: Way::Run(Box::new(move |_| {
                let mut command = Command::new("bwrap");
                command.args(["--unshare-all", "--bind"]).arg(&root).arg("/");
                command.args(["--proc", "/proc", "--dev", "/dev"]).args(TRUE);
                command
            })),
        })
    }

    /// Containers that crun starts a second, which are deleted when all run.
    pub(crate) fn start_rate(&self, workers: usize, each: usize) -> Option<f64> {
        const PROGRAM: &str = "crun";
        if !self
            .lifecycles
            .iter()
            .any(|rival| rival.name.starts_with(PROGRAM))
        {
            return None;
        }
        let bundle = self.bundle(PROGRAM, "sleep", &["/bin/busybox", "sleep", "100000"]);
        let id = |worker, number| format!("bench-{}-{worker}-{number}", std::process::id());
        let call = |arguments: &[&str]| {
            let mut command = Command::new(PROGRAM);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
            assert!(command.status().unwrap().success(), "{PROGRAM} {arguments:?}");
        };
        let bundle = bundle.to_str().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for worker in 0..workers {
                scope.spawn(move || {
                    (0..each).for_each(|number| {
                        call(&["run", "--detach", "--bundle", bundle, &id(worker, number)]);
                    });
                });
            }
        });
        let rate = (workers * each) as f64 / start.elapsed().as_secs_f64();
        for worker in 0..workers {
            (0..each).for_each(|number| call(&["delete", "--force", &id(worker, number)]));
        }
        Some(rate)
    }

    /// An OCI bundle with this command.
    fn bundle(&self, program: &str, name: &str, command: &[&str]) -> PathBuf {
        let bundle = self.scratch.join(program).join(name);
        fs::create_dir_all(&bundle).unwrap();
        let file = bundle.join("config.json");
        let made = Command::new(program).arg("spec").current_dir(&bundle).status();
        assert!(made.unwrap().success(), "{program} spec");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(command);
        config["root"] = json!({ "path": self.root, "readonly": true });
        fs::write(file, config.to_string()).unwrap();
        bundle
    }

    /// A runtime of OCI bundles.
    fn of_bundle(&self, program: &'static str, name: &'static str) -> Option<Rival> {
        if !is_installed(program) {
            left_out(program, "not installed");
            return None;
        }
        let bundle = self.bundle(program, "true", &TRUE);
        let rival = Rival {
            name,
            way: Way::Run(Box::new(move |number| {
                let mut command = Command::new(program);
                command.args(["run", "--bundle"]).arg(&bundle);
                command.arg(format!("bench-{}-{number}", std::process::id()));
                command
            })),
        };
        match rival.works() {
            Ok(()) => Some(rival),
            Err(reason) => {
                left_out(program, &reason);
                None
            }
        }
    }

    /// Through the engine of `DOCKER_HOST`.
    fn docker(&self) -> Option<Rival> {
        let image = "driver-bench/local:1";
        let archive = Command::new("tar")
            .arg("-C")
            .arg(&self.root)
            .args(["-cf", "-", "."])
            .output()
            .unwrap();
        let tar = self.scratch.join("root.tar");
        fs::write(&tar, archive.stdout).unwrap();
        let imported = Command::new("docker")
            .arg("import")
            .arg(&tar)
            .arg(image)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !imported.is_ok_and(|status| status.success()) {
            left_out("docker run", "no engine answers; try `cargo xtask engine up`");
            return None;
        }
        Some(Rival {
            name: "docker run --rm --network none",
            way: Way::Run(Box::new(move |_| {
                let mut command = Command::new("docker");
                command
                    .args(["run", "--rm", "--network", "none", image])
                    .args(TRUE);
                command
            })),
        })
    }
}

impl Rival {
    pub(crate) fn measure(&self, count: usize) -> Vec<Duration> {
        match &self.way {
            Way::Floor(words) => samples(words, count),
            // An engine takes its time.
            Way::Run(_) if self.name.starts_with("docker") => {
                (0..count.div_ceil(5)).map(|at| self.once(at)).collect()
            }
            Way::Run(_) => (0..count).map(|at| self.once(at)).collect(),
        }
    }

    fn once(&self, number: usize) -> Duration {
        let Way::Run(command) = &self.way else {
            unreachable!("the floor measures itself")
        };
        std::thread::sleep(IDLE);
        let mut command = command(number);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().unwrap();
        let time = start.elapsed();
        assert!(status.success(), "{}: {status}", self.name);
        time
    }

    fn works(&self) -> Result<(), String> {
        let Way::Run(command) = &self.way else {
            return Ok(());
        };
        let output = command(usize::MAX).output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}

/// Runs the floor, which prints a sample in microseconds a line.
fn samples(words: &[String], count: usize) -> Vec<Duration> {
    let idle = IDLE.as_millis().to_string();
    let output = Command::new(&words[0])
        .args(&words[1..])
        .args(["-v", "-n", &count.to_string(), "-i", &idle])
        .args(TRUE)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "floor: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| Duration::from_micros(line.parse().unwrap()))
        .collect()
}
