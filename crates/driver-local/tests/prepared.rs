//! The processes that wait to become containers: what is killed of them is not missed, and none outlives the driver.
#![allow(clippy::unwrap_used, reason = "a test without its preconditions cannot go on")]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{init, until};
use driver_local::{LocalDriver, LocalOptions};
use driver_types::{
    CheckStatus, ContainerConfig, ContainerDriver, ContainerDriverExt, ExecSpec, ShutdownMode,
};
use rustix::process::{Pid, Signal, kill_process};

const NAME: &str = "driver-shim";

/// The waiting processes of this test's driver: its fork server, and what that has forked.
fn waiting() -> BTreeSet<i32> {
    let own = std::process::id().cast_signed();
    let all: Vec<(i32, i32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let field = |name| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            let is_ours =
                field("Name:") == Some(NAME) && field("State:").is_some_and(|state| !state.starts_with('Z'));
            Some((pid, field("PPid:")?.parse().ok()?)).filter(|_| is_ours)
        })
        .collect();
    let mut found = BTreeSet::from([own]);
    loop {
        let more = all.iter().filter(|(_, parent)| found.contains(parent));
        let before = found.len();
        found = found.iter().copied().chain(more.map(|(pid, _)| *pid)).collect();
        if found.len() == before {
            break;
        }
    }
    found.remove(&own);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_of_them_is_not_missed_and_none_outlives_the_driver() {
    let state = tempfile::tempdir().unwrap();
    let options = LocalOptions::default()
        .state_dir(state.path().join("state"))
        .prepared(2);
    let driver = LocalDriver::open(options).unwrap();
    let checks = driver.preflight().await.unwrap().checks;
    if let Some(failed) = checks.iter().find(|check| check.status == CheckStatus::Fail) {
        println!("skipped: {}", failed.message);
        return;
    }
    if rustix::fs::stat("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        println!("skipped: with cgroup v2 no first process waits");
        return;
    }
    let config = ContainerConfig::new("session", "host").command(["sleep", "1000"]);
    let container = driver.run_container(&config).await.unwrap();
    let code = async || {
        let spec = ExecSpec::new(["sh", "-c", "exit 7"]);
        driver.exec(&container.id, &spec).await.unwrap().exit_code
    };
    // The server, a shim and an init that run; two with a first process each and two without for what comes.
    let full = || waiting().len() == 1 + 2 + 2 * 2 + 2;
    until("two of each wait", full).await;
    assert_eq!(code().await, 7);
    until("they are made anew", full).await;

    let running = i32::try_from(std::process::id()).unwrap();
    let keep = keepers(&container.id, state.path());
    let server = waiting().into_iter().find(|pid| parent(*pid) == running).unwrap();
    let others = waiting()
        .into_iter()
        .filter(|pid| *pid != server && !keep.contains(pid));
    let killed: BTreeSet<i32> = others.inspect(|pid| kill(*pid)).collect();
    until("they are gone", || waiting().is_disjoint(&killed)).await;
    assert_eq!(code().await, 7);
    kill(server);
    until("the server is gone", || !waiting().contains(&server)).await;
    assert_eq!(code().await, 7);
    let other = driver
        .run_container(&config.clone().command(["true"]))
        .await
        .unwrap();
    assert_eq!(driver.wait_exit(&other.id).await.unwrap().exit_code, Some(0));

    for id in [&container.id, &other.id] {
        driver.force_remove(id).await.unwrap();
    }
    driver.shutdown(ShutdownMode::Leave).await.unwrap();
    until("all are gone", || waiting().is_empty()).await;
}

/// The shim and the init of a container that runs.
fn keepers(id: &str, state: &std::path::Path) -> [i32; 2] {
    let init = init(&state.join("state/containers").join(id));
    [init, parent(init)]
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

fn kill(pid: i32) {
    // The end of one can be that of another.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}
