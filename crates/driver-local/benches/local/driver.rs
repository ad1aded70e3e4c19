//! The driver's side.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use driver_local::{LocalDriver, LocalOptions};
use driver_types::{
    CheckStatus, ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerFilter, ExecSpec,
    ImportOptions, ResourceLimits, SecurityOptions,
};

use crate::rounds;
use crate::table::{Table, median};

const IMAGE: &str = "driver-bench/local:1";
const PROGRAM: &str = "/bin/busybox";
const SLEEP: [&str; 2] = ["sleep", "100000"];

/// What is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With a writable layer in memory, as the floor has one.
    Writable,
    /// The default config.
    ReadOnly,
    /// Writable, and no process was made ready before.
    Cold,
    /// Writable, with the state directory on the disk of the temporary directory instead of in memory.
    OnDisk,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Writable, Kind::ReadOnly, Kind::Cold, Kind::OnDisk];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Writable => "driver-local, writable root",
            Self::ReadOnly => "driver-local, read-only root (the default)",
            Self::Cold => "driver-local, writable root, nothing prepared",
            Self::OnDisk => "driver-local, writable root, state directory on disk",
        }
    }
}

pub(crate) struct Bench {
    memory: Arc<LocalDriver>,
    cold: Arc<LocalDriver>,
    disk: Arc<LocalDriver>,
    directory: tempfile::TempDir,
    on_disk: tempfile::TempDir,
}

/// A container that runs, and its first process.
pub(crate) struct Running {
    pub(crate) id: String,
    pub(crate) init: i32,
}

impl Bench {
    pub(crate) async fn begin() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            println!("skipped: {PROGRAM} is not there; install busybox-static");
            return None;
        }
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let on_disk = tempfile::tempdir_in("/var/tmp").unwrap();
        let memory = open(directory.path(), 1).await?;
        let cold = open(&directory.path().join("cold"), 0).await?;
        let disk = open(on_disk.path(), 1).await?;
        let root = directory.path().join("root");
        for name in ["bin", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy(PROGRAM, root.join("bin/busybox")).unwrap();
        Some(Self {
            memory,
            cold,
            disk,
            directory,
            on_disk,
        })
    }

    /// A root file system for others.
    pub(crate) fn root(&self) -> &'static Path {
        Box::leak(self.directory.path().join("root").into_boxed_path())
    }

    fn of(&self, kind: Kind) -> &Arc<LocalDriver> {
        match kind {
            Kind::OnDisk => &self.disk,
            Kind::Cold => &self.cold,
            _ => &self.memory,
        }
    }

    pub(crate) async fn lifecycle(&self, kind: Kind) -> Duration {
        let config = config(kind, &["true"]);
        let start = Instant::now();
        cycle(self.of(kind), &config).await;
        start.elapsed()
    }

    /// Lifecycles a second.
    pub(crate) async fn rate(&self, kind: Kind, workers: usize, each: usize) -> f64 {
        let one =
            move |driver: Arc<LocalDriver>| async move { cycle(&driver, &config(kind, &["true"])).await };
        self.at_once(kind, workers, each, one).await.0
    }

    /// Starts a second, of containers that are removed when all run.
    pub(crate) async fn start_rate(&self, kind: Kind, workers: usize, each: usize) -> f64 {
        let one = move |driver: Arc<LocalDriver>| async move {
            let container = driver.run_container(&config(kind, &SLEEP)).await.unwrap();
            container.id
        };
        let (rate, ids) = self.at_once(kind, workers, each, one).await;
        for id in &ids {
            self.remove(kind, id).await;
        }
        rate
    }

    /// Lets each worker do something so many times: how often that is in a second, and what came of it.
    async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        kind: Kind,
        workers: usize,
        each: usize,
        one: impl Fn(Arc<LocalDriver>) -> F + Copy + Send + 'static,
    ) -> (f64, Vec<T>) {
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..workers {
            let driver = Arc::clone(self.of(kind));
            tasks.spawn(async move {
                let mut done = Vec::new();
                for _ in 0..each {
                    done.push(one(Arc::clone(&driver)).await);
                }
                done
            });
        }
        let done = tasks.join_all().await.into_iter().flatten().collect();
        ((workers * each) as f64 / start.elapsed().as_secs_f64(), done)
    }

    pub(crate) async fn running(&self, kind: Kind) -> Running {
        let config = config(Kind::ReadOnly, &SLEEP);
        let container = self.of(kind).run_container(&config).await.unwrap();
        Running {
            init: self.init(kind, &container.id),
            id: container.id,
        }
    }

    fn init(&self, kind: Kind, id: &str) -> i32 {
        let journal = self.state(kind).join("containers").join(id).join("journal");
        let journal = fs::read_to_string(journal).unwrap();
        let (_, rest) = journal.split_once("\"initPid\":").unwrap();
        rest.split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    fn state(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::OnDisk => self.on_disk.path().join("state"),
            Kind::Cold => self.directory.path().join("cold/state"),
            _ => self.directory.path().join("state"),
        }
    }

    pub(crate) async fn exec(&self, kind: Kind, id: &str) -> Duration {
        let spec = ExecSpec::new([PROGRAM, "true"]);
        let start = Instant::now();
        let result = self.of(kind).exec(id, &spec).await.unwrap();
        let time = start.elapsed();
        assert_eq!(result.exit_code, 0);
        time
    }

    pub(crate) async fn remove(&self, kind: Kind, id: &str) {
        self.of(kind).force_remove(id).await.unwrap();
    }

    /// What an idle container's keepers take beside its own process: the shim and the init, proportionally shared. And what
    /// waits for the next exec, where there was one.
    pub(crate) async fn memory(&self, table: &mut Table) {
        const COUNT: usize = 10;
        let mut running = Vec::new();
        for _ in 0..COUNT {
            let container = self.running(Kind::ReadOnly).await;
            self.exec(Kind::ReadOnly, &container.id).await;
            running.push(container);
        }
        // A shim gives its buffers back when it has been idle.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (mut shims, mut inits, mut waiting) = (0, 0, 0);
        for container in &running {
            shims += pss_kib(parent(container.init));
            inits += pss_kib(container.init);
            waiting += joined(container.init).map(pss_kib).sum::<u64>();
        }
        for container in &running {
            self.remove(Kind::ReadOnly, &container.id).await;
        }
        table.section("memory of an idle container beside its own process (PSS)");
        let count = COUNT as u64;
        table.figure("shim", format!("{} KiB", shims / count), None);
        table.figure("init", format!("{} KiB", inits / count), None);
        let row = "two processes that wait for an exec, after one (in 16 containers at most)";
        table.figure(row, format!("{} KiB", waiting / count), None);
    }

    /// Output into the log, against `cat` from a pipe into a file.
    pub(crate) async fn logs(&self, table: &mut Table) {
        const MIB: u64 = 512;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds(5) {
            theirs.push(piped(self.directory.path(), MIB));
            ours.push(self.logged(MIB).await);
        }
        table.section(&format!("{MIB} MiB of output, MB a second"));
        let rate = |time: Duration| (MIB << 20) as f64 / 1e6 / time.as_secs_f64();
        let (ours, theirs) = (rate(median(&mut ours)), rate(median(&mut theirs)));
        table.figure(
            "`cat` from a pipe into a file in memory",
            format!("{theirs:.0}"),
            None,
        );
        table.figure(
            "driver-local, into its log in memory, to the exit",
            format!("{ours:.0}"),
            Some(ours / theirs),
        );
    }

    async fn logged(&self, mib: u64) -> Duration {
        let count = format!("count={}", mib * 16);
        let config = config(Kind::ReadOnly, &["dd", "if=/dev/zero", "bs=64k", &count]);
        let id = self.memory.create_container(&config).await.unwrap().id;
        let start = Instant::now();
        self.memory.start_container(&id).await.unwrap();
        let exit = self.memory.wait_exit(&id).await.unwrap();
        let time = start.elapsed();
        assert_eq!(exit.exit_code, Some(0));
        self.remove(Kind::ReadOnly, &id).await;
        time
    }

    /// What it costs to ask about one of a thousand that run.
    pub(crate) async fn many(&self, table: &mut Table) {
        let count = rounds(1000);
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.running(Kind::ReadOnly).await.id);
        }
        let filter = ContainerFilter::default();
        let (mut lists, mut gets, mut stats) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..20 {
            let start = Instant::now();
            assert_eq!(self.memory.list_containers(&filter).await.unwrap().len(), count);
            lists.push(start.elapsed());
        }
        for id in &ids {
            let start = Instant::now();
            assert!(self.memory.get_container(id).await.unwrap().is_some());
            gets.push(start.elapsed());
            let start = Instant::now();
            self.memory.container_stats(id).await.unwrap();
            stats.push(start.elapsed());
        }
        table.section(&format!("{count} containers that run"));
        table.times("list all", &mut lists, None);
        table.times("get one", &mut gets, None);
        table.times("stats of one", &mut stats, None);
        for id in &ids {
            self.remove(Kind::ReadOnly, id).await;
        }
    }

    pub(crate) async fn end(&self) {
        for driver in [&self.memory, &self.cold, &self.disk] {
            driver.remove_image(IMAGE).await.unwrap();
        }
    }
}

async fn open(directory: &Path, prepared: usize) -> Option<Arc<LocalDriver>> {
    let options = LocalOptions::default()
        .state_dir(directory.join("state"))
        .prepared(prepared)
        .prepared_execs(prepared * 16);
    let driver = LocalDriver::open(options).unwrap();
    let checks = driver.preflight().await.unwrap().checks;
    if let Some(failed) = checks.iter().find(|check| check.status == CheckStatus::Fail) {
        println!("skipped: {}", failed.message);
        return None;
    }
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(PROGRAM, "bin/busybox").unwrap();
    let archive = Bytes::from(archive.into_inner().unwrap());
    let stream = Box::pin(futures_util::stream::iter([Ok(archive)]));
    driver
        .import_image(&ImportOptions::new(IMAGE), stream)
        .await
        .unwrap();
    Some(Arc::new(driver))
}

fn config(kind: Kind, arguments: &[&str]) -> ContainerConfig {
    let command: Vec<&str> = [PROGRAM].iter().chain(arguments).copied().collect();
    // So little disk is held in memory.
    let limits = ResourceLimits::default().memory(64).disk(16).cpu(1.0);
    ContainerConfig::new("bench", IMAGE)
        .command(command)
        .resources(limits)
        .security(SecurityOptions::default().read_only(kind == Kind::ReadOnly))
}

async fn cycle(driver: &LocalDriver, config: &ContainerConfig) {
    let id = driver.create_container(config).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    let exit = driver.wait_exit(&id).await.unwrap();
    assert_eq!(exit.exit_code, Some(0));
    driver.force_remove(&id).await.unwrap();
}

fn piped(directory: &Path, mib: u64) -> Duration {
    let file = directory.join("piped");
    let script = format!(
        "{PROGRAM} dd if=/dev/zero bs=64k count={} 2>/dev/null | {PROGRAM} cat > {}",
        mib * 16,
        file.display()
    );
    let start = Instant::now();
    let status = std::process::Command::new(PROGRAM)
        .args(["sh", "-c", &script])
        .status();
    let time = start.elapsed();
    assert!(status.unwrap().success());
    fs::remove_file(file).unwrap();
    time
}

/// What waits in a container for its next exec: the processes in its mount namespace that are neither its init nor its program.
fn joined(init: i32) -> impl Iterator<Item = i32> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = namespace(init).unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |pid| namespace(*pid).as_ref() == Some(&own))
        .filter(move |pid| *pid != init && parent(*pid) != init)
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

fn pss_kib(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}
