//! Shims that are killed under their containers: `recover` gives those another one, which loses no line and no exit.
#![allow(clippy::unwrap_used, reason = "a test without its preconditions cannot go on")]

mod common;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use common::{init, is_root, open, until};
use driver_local::{LocalDriver, LocalOptions};
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerStatus, ExecSpec, ExitReason, LogOptions,
    ShutdownMode, StopOptions, VolumeMount,
};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

struct Fixture {
    driver: LocalDriver,
    state: PathBuf,
    temp: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Option<Self> {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let driver = open(LocalOptions::default().state_dir(&state)).await?;
        fs::create_dir(temp.path().join("gate")).unwrap();
        Some(Self { driver, state, temp })
    }

    /// A script that can wait until the test opens a gate: `until test -e /gate/NAME; do sleep 0.01; done`.
    fn config(&self, script: &str) -> ContainerConfig {
        let gate = self.temp.path().join("gate");
        ContainerConfig::new("session", "host")
            .command(["sh", "-c", script])
            .volume(VolumeMount::new(gate.to_str().unwrap(), "/gate").read_only(true))
    }

    fn open_gate(&self, name: &str) {
        fs::write(self.temp.path().join("gate").join(name), "").unwrap();
    }

    fn dir(&self, id: &str) -> PathBuf {
        self.state.join("containers").join(id)
    }

    /// The container's shim: whoever listens on its socket. (/proc/locks is no picture of one moment.)
    fn shim(&self, id: &str) -> Pid {
        self.find_shim(id).unwrap()
    }

    fn find_shim(&self, id: &str) -> Option<Pid> {
        let directory = fs::File::open(self.dir(id)).unwrap();
        let socket = format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd());
        let socket = UnixStream::connect(socket).ok()?;
        Some(rustix::net::sockopt::socket_peercred(&socket).unwrap().pid)
    }

    /// Kills the container's shim, and waits until it is gone.
    async fn kill_shim(&self, id: &str) {
        let shim = self.shim(id);
        kill_process(shim, Signal::KILL).unwrap();
        until("the shim is gone", || !is_alive(shim.as_raw_nonzero().get())).await;
    }

    /// The application ends, and its driver with it: nobody watches its containers.
    async fn without_driver(&mut self) {
        self.driver.shutdown(ShutdownMode::Leave).await.unwrap();
        self.driver = self.another();
    }

    fn another(&self) -> LocalDriver {
        LocalDriver::open(LocalOptions::default().state_dir(&self.state)).unwrap()
    }

    fn journal(&self, id: &str) -> String {
        fs::read_to_string(self.dir(id).join("journal")).unwrap()
    }

    async fn logs(&self, id: &str) -> String {
        let all = LogOptions::default();
        self.driver.get_container_logs(id, &all).await.unwrap()
    }

    /// A container that runs until it is ended.
    async fn sleeping(&self) -> String {
        let config = self.config("sleep 1000");
        self.driver.run_container(&config).await.unwrap().id
    }

    async fn end(self, id: &str) {
        self.driver.force_remove(id).await.unwrap();
        self.driver.shutdown(ShutdownMode::Leave).await.unwrap();
    }
}

/// A process that was killed, and is held where the kernel has not closed any of its files yet.
struct Dying {
    held: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

/// Whether a process has reaped all its children.
fn has_no_children(pid: i32) -> bool {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.is_ok_and(|children| children.is_empty())
}

impl Dying {
    /// Whether this process may not hold shims, which are not dumpable.
    fn skipped() -> bool {
        if !is_root() {
            println!("skipped: needs root to hold a shim that dies");
        }
        !is_root()
    }

    fn kill(victim: Pid) -> Self {
        let (dies, is_dying) = mpsc::channel();
        let (go_on, may_go) = mpsc::channel::<()>();
        let victim = nix::unistd::Pid::from_raw(victim.as_raw_nonzero().get());
        let tracer = std::thread::spawn(move || {
            ptrace::seize(victim, ptrace::Options::PTRACE_O_TRACEEXIT).unwrap();
            nix::sys::signal::kill(victim, nix::sys::signal::Signal::SIGKILL).unwrap();
            let stopped = waitpid(victim, Some(WaitPidFlag::__WALL)).unwrap();
            let exits = ptrace::Event::PTRACE_EVENT_EXIT as i32;
            assert!(matches!(stopped, WaitStatus::PtraceEvent(_, _, event) if event == exits));
            dies.send(()).unwrap();
            let _ = may_go.recv();
            ptrace::detach(victim, None).unwrap();
        });
        is_dying.recv().unwrap();
        let held = Some((go_on, tracer));
        Self { held }
    }

    fn let_go(mut self) {
        if let Some((go_on, tracer)) = self.held.take() {
            drop(go_on);
            tracer.join().unwrap();
        }
    }
}

fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

/// Whether a pidfd tells how a process has ended to whoever is not its parent: `PIDFD_INFO_EXIT`, Linux 6.15.
fn kernel_tells_of_strangers() -> bool {
    driver_local_shim::running_kernel() >= Some((6, 15))
}

/// Four shims are killed while the container writes; every line is there once, in order.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_or_doubled_and_the_exit_is_exact(#[values(true, false)] init: bool) {
    const LINES: usize = 20_000;
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let script = format!("seq 1 {LINES}; until test -e /gate/end; do sleep 0.01; done; echo end; exit 7");
    let config = fixture.config(&format!("exec 2>&1; {script}")).init(init);
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    for _ in 0..4 {
        fixture.kill_shim(&id).await;
        let report = fixture.driver.recover().await.unwrap();
        assert_eq!(report.adopted.len(), 1, "{report:?}");
        let now = fixture.driver.require_container(&id).await.unwrap();
        assert_eq!(now.status, ContainerStatus::Running);
    }
    fixture.open_gate("end");
    let exit = fixture.driver.wait_exit(&id).await.unwrap();
    // Without an init only the kernel can tell whose child it was not.
    if init || kernel_tells_of_strangers() {
        assert_eq!((exit.exit_code, exit.reason), (Some(7), ExitReason::Exited));
    } else {
        assert_eq!((exit.exit_code, exit.reason), (None, ExitReason::Unknown));
    }
    let logs = fixture.logs(&id).await;
    let expected: String = (1..=LINES).map(|line| format!("{line}\n")).collect();
    assert!(logs == expected + "end\n", "{} bytes", logs.len());
    fixture.end(&id).await;
}

/// Nobody watches when it ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_exit_without_a_shim_is_found_by_another_driver() {
    if !is_root() {
        println!("skipped: without root the exit of an init goes with its shim");
        return;
    }
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let config = fixture.config("until test -e /gate/end; do sleep 0.01; done; exit 9");
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    let init = init(&fixture.dir(&id));
    fixture.kill_shim(&id).await;
    fixture.open_gate("end");
    until("the container ends", || !is_alive(init)).await;
    let other = fixture.another();
    let report = other.recover().await.unwrap();
    assert_eq!(report.exited.len(), 1, "{report:?}");
    let now = fixture.driver.require_container(&id).await.unwrap();
    let exit = now.exit.unwrap();
    assert_eq!((now.status, exit.exit_code), (ContainerStatus::Exited, Some(9)));
    assert!(!cgroups_of(&id), "cgroups are left");
    other.shutdown(ShutdownMode::Leave).await.unwrap();
    fixture.end(&id).await;
}

/// What is in the pipe of a container is there as long as its init is, and that stays until somebody has taken it. A terminal has
/// more of it here than can be read at once.
#[rstest]
#[case::pipe(false, 20_000, "\n")]
#[case::terminal(true, 1_000, "\r\n")]
#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_of_a_container_that_ends_without_a_shim(
    #[case] tty: bool,
    #[case] lines: usize,
    #[case] end_of_line: &str,
) {
    let Some(mut fixture) = Fixture::new().await else {
        return;
    };
    let script = format!("until test -e /gate/end; do sleep 0.01; done; seq 1 {lines}; echo end >&2; exit 7");
    let config = fixture.config(&script).tty(tty);
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    let init = init(&fixture.dir(&id));
    fixture.without_driver().await;
    fixture.kill_shim(&id).await;
    fixture.open_gate("end");
    let exit = fixture.dir(&id).join("exit");
    until("the main process ends", || match is_root() {
        true => fs::read(&exit).is_ok_and(|exit| !exit.is_empty()),
        false => has_no_children(init),
    })
    .await;
    assert!(is_alive(init), "it did not wait");
    let report = fixture.driver.recover().await.unwrap();
    // Without root there is no file that tells of the end: it comes a moment later.
    assert!(!is_root() || report.exited.len() == 1, "{report:?}");
    assert_eq!(fixture.driver.wait_exit(&id).await.unwrap().exit_code, Some(7));
    let numbers = (1..=lines).map(|line| line.to_string());
    let expected: String = numbers
        .chain(["end".to_owned()])
        .map(|line| line + end_of_line)
        .collect();
    let logs = fixture.logs(&id).await;
    assert!(logs == expected, "{} bytes", logs.len());
    fixture.end(&id).await;
}

/// What an init that is killed could not tell, the kernel does; also the last that it wrote.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_exit_of_a_killed_init_is_exact_after_an_adoption(#[values(true, false)] init: bool) {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let script = "until test -e /gate/end; do sleep 0.01; done; echo last; sleep 1000";
    let config = fixture.config(script).init(init);
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    fixture.kill_shim(&id).await;
    let report = fixture.driver.recover().await.unwrap();
    assert_eq!(report.adopted.len(), 1, "{report:?}");
    let (shim, out) = (fixture.shim(&id), fixture.dir(&id).join("out"));
    kill_process(shim, Signal::STOP).unwrap();
    fixture.open_gate("end");
    let out = fs::OpenOptions::new().read(true).write(true).open(out).unwrap();
    until("it has written", || rustix::io::ioctl_fionread(&out).unwrap() > 0).await;
    drop(out);
    fixture
        .driver
        .signal_container(&id, driver_types::Signal::KILL)
        .await
        .unwrap();
    let first = common::init(&fixture.dir(&id));
    until("it is gone", || !is_alive(first)).await;
    kill_process(shim, Signal::CONT).unwrap();
    let exit = fixture.driver.wait_exit(&id).await.unwrap();
    if kernel_tells_of_strangers() {
        assert_eq!((exit.exit_code, exit.reason), (Some(137), ExitReason::Signaled));
    }
    assert_eq!(fixture.logs(&id).await, "last\n");
    fixture.end(&id).await;
}

/// A shim that was killed after its container's first process was made and before it could tell so. Whoever has cgroups finds the
/// process there; others find it in the journal.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_and_was_not_told_is_ended() {
    let Some(mut fixture) = Fixture::new().await else {
        return;
    };
    let config = fixture.config("exit 7");
    let id = fixture.driver.create_container(&config).await.unwrap().id;
    fixture.without_driver().await;
    let mut first = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = first.id().cast_signed();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let since = driver_local_shim::start_time(pid).unwrap();
    let forked = driver_local_shim::record::forked(0, pid, since, boot.trim());
    let mut journal = fs::File::options()
        .append(true)
        .open(fixture.dir(&id).join("journal"))
        .unwrap();
    write!(journal, "{{\"starting\":{{\"run\":0,\"at\":1}}}}\n{forked}").unwrap();
    fixture.driver.recover().await.unwrap();
    assert_eq!(first.wait().unwrap().code(), None, "it was killed");
    let found = fixture.driver.get_container(&id).await.unwrap().unwrap();
    assert_eq!(found.status, ContainerStatus::Created);
    fixture.driver.start_container(&id).await.unwrap();
    assert_eq!(fixture.driver.wait_exit(&id).await.unwrap().exit_code, Some(7));
    fixture.end(&id).await;
}

/// Without cgroups the first process stands in the journal before its program can begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_process_without_cgroups_is_written_down_before_it_begins() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let id = fixture.sleeping().await;
    let journal = fixture.journal(&id);
    let (forked, started) = (journal.find("{\"forked\""), journal.find("{\"started\"").unwrap());
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", common::init(&fixture.dir(&id)))).unwrap();
    match cgroups.contains("driver-local/") {
        true => assert_eq!(forked, None),
        false => assert!(forked.is_some_and(|forked| forked < started), "{journal}"),
    }
    fixture.end(&id).await;
}

/// A shim that was killed and has not ended yet still has its lock. Whoever recovers meanwhile watches it.
#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_is_dying_while_another_driver_recovers_gets_a_successor() {
    if Dying::skipped() {
        return;
    }
    let Some(mut fixture) = Fixture::new().await else {
        return;
    };
    let config = fixture.config("until test -e /gate/end; do sleep 0.01; done; echo end; exit 9");
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    fixture.without_driver().await;
    let dying = Dying::kill(fixture.shim(&id));
    let report = fixture.driver.recover().await.unwrap();
    assert_eq!(report.adopted.len(), 1, "{report:?}");
    dying.let_go();
    until("it is adopted", || fixture.journal(&id).contains("adopted")).await;
    // Again, by a driver that has begun nothing of it.
    fixture.kill_shim(&id).await;
    until("it is adopted again", || {
        fixture.journal(&id).matches("adopted").count() == 2
    })
    .await;
    fixture.open_gate("end");
    let exit = fixture.driver.wait_exit(&id).await.unwrap();
    assert_eq!(exit.exit_code, Some(9));
    assert_eq!(fixture.logs(&id).await, "end\n");
    fixture.end(&id).await;
}

/// When this driver looks for a killed shim's lock, another driver's shim has it, and then ends as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_another_driver_has_taken_over_is_watched_all_the_same() {
    /// Longer than a driver waits for a lock.
    const BY_THEN: Duration = Duration::from_secs(6);
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let config = fixture.config("until test -e /gate/end; do sleep 0.01; done; exit 9");
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    let lock = fs::File::open(fixture.dir(&id).join("shim.lock")).unwrap();
    // Before the shim is killed, so that few are faster.
    let (has_it, taken) = mpsc::channel();
    std::thread::spawn(move || {
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        has_it.send(lock).unwrap();
    });
    let adoptions = || fixture.journal(&id).matches("adopted").count();
    let lock = loop {
        fixture.kill_shim(&id).await;
        // The next shim may have been faster: the kernel hands a lock to nobody.
        if let Ok(lock) = taken.recv_timeout(Duration::from_millis(500)) {
            break lock;
        }
        until("it is adopted", || fixture.find_shim(&id).is_some()).await;
    };
    let before = adoptions();
    tokio::time::sleep(BY_THEN).await;
    assert_eq!(adoptions(), before);
    drop(lock);
    until("it is adopted", || adoptions() > before).await;
    fixture.open_gate("end");
    assert_eq!(fixture.driver.wait_exit(&id).await.unwrap().exit_code, Some(9));
    fixture.end(&id).await;
}

/// Likewise where the run is over, and the shim will not write it down any more.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_that_a_dying_shim_does_not_write_is_found() {
    if Dying::skipped() {
        return;
    }
    let Some(mut fixture) = Fixture::new().await else {
        return;
    };
    let config = fixture.config("until test -e /gate/end; do sleep 0.01; done; exit 9");
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    let init = init(&fixture.dir(&id));
    fixture.without_driver().await;
    let dying = Dying::kill(fixture.shim(&id));
    fixture.open_gate("end");
    until("the container ends", || !is_alive(init)).await;
    let report = {
        let mut recovery = Box::pin(fixture.driver.recover());
        let early = tokio::time::timeout(Duration::from_millis(200), &mut recovery).await;
        dying.let_go();
        match early {
            Ok(report) => report.unwrap(),
            Err(_) => recovery.await.unwrap(),
        }
    };
    assert_eq!(report.exited.len(), 1, "{report:?}");
    assert_eq!(report.exited[0].exit.as_ref().unwrap().exit_code, Some(9));
    fixture.end(&id).await;
}

/// The run is over, and its shim has not written it down yet.
#[tokio::test(flavor = "multi_thread")]
async fn recover_waits_for_the_end_that_a_shim_is_about_to_write() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let config = fixture.config("until test -e /gate/end; do sleep 0.01; done; exit 9");
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    let init = init(&fixture.dir(&id));
    let shim = fixture.shim(&id);
    kill_process(shim, Signal::STOP).unwrap();
    fixture.open_gate("end");
    until("the container ends", || !is_alive(init)).await;
    let report = {
        let mut recovery = Box::pin(fixture.driver.recover());
        let early = tokio::time::timeout(Duration::from_millis(500), &mut recovery).await;
        kill_process(shim, Signal::CONT).unwrap();
        match early {
            Ok(report) => report.unwrap(),
            Err(_) => recovery.await.unwrap(),
        }
    };
    assert_eq!((report.adopted.len(), report.exited.len()), (0, 1), "{report:?}");
    assert_eq!(report.exited[0].exit.as_ref().unwrap().exit_code, Some(9));
    fixture.end(&id).await;
}

/// A driver that is killed in a removal by force has written what it is about to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_by_force_that_was_begun_is_finished() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let id = fixture.sleeping().await;
    let journal = fixture.dir(&id).join("journal");
    let mut journal = fs::OpenOptions::new().append(true).open(journal).unwrap();
    writeln!(journal, r#"{{"killing":{{"run":0,"at":1}}}}"#).unwrap();
    let report = fixture.driver.recover().await.unwrap();
    assert!(
        report.adopted.is_empty() && report.orphaned.is_empty(),
        "{report:?}"
    );
    assert!(fixture.driver.get_container(&id).await.unwrap().is_none());
    assert!(!cgroups_of(&id), "cgroups are left");
    fixture.driver.shutdown(ShutdownMode::Leave).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_container_is_like_any_other() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let config = fixture
        .config("trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done")
        .tty(true);
    let id = fixture.driver.run_container(&config).await.unwrap().id;
    fixture.kill_shim(&id).await;
    fixture.driver.recover().await.unwrap();
    let spec = ExecSpec::new(["sh", "-c", "echo said > /dev/pts/0; exit 4"]);
    assert_eq!(fixture.driver.exec(&id, &spec).await.unwrap().exit_code, 4);
    fixture
        .driver
        .stop_container(&id, &StopOptions::default())
        .await
        .unwrap();
    let now = fixture.driver.require_container(&id).await.unwrap();
    assert_eq!(now.status, ContainerStatus::Stopped);
    assert_eq!(now.exit.unwrap().exit_code, Some(3));
    let logs = fixture.logs(&id).await;
    assert!(logs.contains("said"), "{logs:?}");
    fixture.driver.start_container(&id).await.unwrap();
    fixture.end(&id).await;
}

/// A driver that is killed while it makes a snapshot leaves the container frozen, and its journal does not say so.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_snapshot_froze_goes_on() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let id = fixture.sleeping().await;
    let freezers = [
        ("/sys/fs/cgroup/freezer/driver-local", "freezer.state", "FROZEN"),
        ("/sys/fs/cgroup/driver-local", "cgroup.freeze", "1"),
    ];
    let frozen = freezers
        .iter()
        .any(|(parent, file, word)| fs::write(Path::new(parent).join(&id).join(file), word).is_ok());
    if !frozen {
        println!("skipped: this process's cgroup is elsewhere");
        return fixture.end(&id).await;
    }
    let other = fixture.another();
    assert_eq!(other.recover().await.unwrap().adopted.len(), 1);
    let spec = ExecSpec::new(["sh", "-c", "exit 4"]);
    assert_eq!(other.exec(&id, &spec).await.unwrap().exit_code, 4);
    other.shutdown(ShutdownMode::Leave).await.unwrap();
    fixture.end(&id).await;
}

fn cgroups_of(id: &str) -> bool {
    let controllers = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    controllers
        .into_iter()
        .any(|entry| entry.path().join("driver-local").join(id).exists())
        || Path::new("/sys/fs/cgroup/driver-local").join(id).exists()
}
