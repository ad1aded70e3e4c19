//! Whether a container that lives after a crash is whole: it has a shim, which is at work, hands its work to another when it is
//! killed, and loses neither a line nor the exit.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use driver_local::LocalDriver;
use driver_types::{
    ContainerDriver, ContainerInstance, ContainerStatus, ExitReason, LogOptions, Result, Signal, StopOptions,
    WaitCondition,
};
use nix::sys::signal;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};
use nix::unistd::Pid;

use crate::app::until_ready;
use crate::before::journal;
use crate::workload::{Around, GRACE_MS, Workload};

/// The limit is for what is broken only.
const LIMIT: Duration = Duration::from_secs(60);

/// How a container is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is asked to end.
    Stopped,
    /// Likewise, after it has written more.
    Grown,
    /// It is killed while its shim is stopped and has not taken all output.
    Killed,
}

/// Ends it, and tells what is wrong.
pub(crate) async fn complaints(
    driver: &LocalDriver,
    state: &Path,
    now: &ContainerInstance,
    workload: Workload,
) -> Result<Vec<String>> {
    let (id, dir) = (&now.id, state.join("containers").join(&now.id));
    // All come up: ids are random.
    let number = id.bytes().last().unwrap_or_default();
    let way = match number & 1 {
        // Whether it has got the signal already, nobody knows.
        _ if journal(state, id).contains("{\"stopping\":") => Way::Stopped,
        // A terminal takes little that nobody reads.
        _ if workload.around == Around::Terminal => Way::Grown,
        0 => Way::Grown,
        _ => Way::Killed,
    };
    if now.status == ContainerStatus::Paused {
        driver.resume_container(id).await?;
    }
    until_ready(driver, workload, id).await?;
    if way != Way::Stopped && number & 2 == 0 && !adopted_again(state, id, &dir).await {
        return Ok(vec![
            "its shim was killed after recover, and it got no other".to_owned(),
        ]);
    }
    let mut wrong = Vec::new();
    let grown = workload.first() + &workload.more();
    let end = workload.line("end");
    let (whole, code, reason) = match way {
        Way::Stopped => (workload.output(), workload.code.into(), ExitReason::Stopped),
        Way::Grown => (grown + &end, workload.code.into(), ExitReason::Stopped),
        Way::Killed => (grown, 137, ExitReason::Signaled),
    };
    if way == Way::Killed {
        wrong.extend(killed(driver, id, &dir, workload).await?);
    } else {
        if way == Way::Grown {
            driver.signal_container(id, Signal::HUP).await?;
            until_logged(driver, id, whole.len() - end.len()).await?;
        }
        let options = StopOptions::timeout(GRACE_MS);
        driver.stop_container(id, &options).await?;
    }
    driver.wait_container(id, WaitCondition::Exited).await?;
    let exit = driver.get_container(id).await?.and_then(|ended| ended.exit);
    let told_by_init = way != Way::Killed && workload.around != Around::Nothing;
    let known = told_by_init || remembers_exits();
    if known && exit.as_ref().map(|exit| (exit.exit_code, exit.reason)) != Some((Some(code), reason)) {
        wrong.push(format!("its exit is {exit:?}, not {code}, {reason:?}"));
    }
    let log = driver.get_container_logs(id, &LogOptions::default()).await?;
    wrong.extend(differs(&log, &whole));
    Ok(wrong.iter().map(|wrong| format!("{way:?}: {wrong}")).collect())
}

/// Whether the kernel tells the end of a process to whoever has adopted it, after its parent was told.
fn remembers_exits() -> bool {
    driver_local_shim::running_kernel() >= Some((6, 15))
}

/// What is wrong with a log that should be this text.
pub(crate) fn differs(log: &str, whole: &str) -> Option<String> {
    if log == whole {
        return None;
    }
    let same = log.bytes().zip(whole.bytes()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[same..])
            .chars()
            .take(40)
            .collect::<String>()
    };
    Some(format!(
        "its log has {} bytes, not {}: after {same} bytes comes {:?}, not {:?}",
        log.len(),
        whole.len(),
        from(log),
        from(whole)
    ))
}

/// Kills its shim. The driver that has recovered watches, and gives it another one.
async fn adopted_again(state: &Path, id: &str, dir: &Path) -> bool {
    let adoptions = || journal(state, id).matches("\"adopted\"").count();
    let before = adoptions();
    let Some(shim) = shim(dir) else { return false };
    let _ = signal::kill(shim, signal::Signal::SIGKILL);
    until(|| adoptions() > before && self::shim(dir).is_some_and(|other| other != shim)).await
}

/// The container writes while its shim is stopped, and is killed before the shim goes on. What is wrong.
async fn killed(driver: &LocalDriver, id: &str, dir: &Path, workload: Workload) -> Result<Option<String>> {
    let out = File::options().read(true).write(true).open(dir.join("out"));
    let (Some(shim), Ok(out)) = (shim(dir), out) else {
        driver.signal_container(id, Signal::KILL).await?;
        return Ok(Some("it has no shim".to_owned()));
    };
    let _ = signal::kill(shim, signal::Signal::SIGSTOP);
    until(|| state_of(shim) == Some('T')).await;
    driver.signal_container(id, Signal::HUP).await?;
    let bytes = workload.more().len() as u64;
    let has_written = until(|| rustix::io::ioctl_fionread(&out).is_ok_and(|waiting| waiting == bytes)).await;
    // Only the shim has it now, but for the container.
    drop(out);
    let first = first_process(dir);
    driver.signal_container(id, Signal::KILL).await?;
    until(|| first.and_then(state_of).is_none_or(|state| "ZX".contains(state))).await;
    let _ = signal::kill(shim, signal::Signal::SIGCONT);
    Ok((!has_written).then(|| "it does not write more lines".to_owned()))
}

/// Of the last run.
fn first_process(dir: &Path) -> Option<Pid> {
    let journal = fs::read_to_string(dir.join("journal")).ok()?;
    let (_, rest) = journal.rsplit_once("\"initPid\":")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Pid::from_raw)
}

/// The letter of proc(5)'s stat.
fn state_of(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whoever listens on the container's socket.
fn shim(dir: &Path) -> Option<Pid> {
    let directory = File::open(dir).ok()?;
    let path = format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd());
    let address = UnixAddr::new(path.as_str()).ok()?;
    let client = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .ok()?;
    connect(client.as_raw_fd(), &address).ok()?;
    let listener = getsockopt(&client, PeerCredentials).ok()?;
    Some(Pid::from_raw(listener.pid()))
}

/// Until its log has so many bytes.
async fn until_logged(driver: &LocalDriver, id: &str, bytes: usize) -> Result<()> {
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < LIMIT {
        let log = driver.get_container_logs(id, &LogOptions::default()).await?;
        if log.len() >= bytes {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Whether it comes true.
async fn until(is_so: impl Fn() -> bool) -> bool {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.is_ok()
}
