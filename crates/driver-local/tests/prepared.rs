//! The processes that wait to become containers: what is killed of them is not missed, and none outlives the driver.
#![allow(clippy::unwrap_used, reason = "a test without its preconditions cannot go on")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{init, is_root, open, until};
use driver_local::LocalOptions;
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerDriverExt, ExecSpec, SecurityOptions, ShutdownMode,
    StopOptions,
};
use rustix::process::{Pid, Signal, kill_process};

const NAME: &str = "driver-shim";

/// How many shims wait in a container for its next exec: those in its mount namespace that are not init.
fn waiting_in(container: &Path) -> usize {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt"));
    let Ok(own) = namespace(&init(container).to_string()) else {
        return 0;
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let inside = processes
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|pid| namespace(pid).is_ok_and(|namespace| namespace == own))
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == NAME));
    (inside.count() - 1) / for_an_exec()
}

/// How many processes wait in a container for an exec: with version 2 none is in the pid namespace before the exec.
fn for_an_exec() -> usize {
    match rustix::fs::stat("/sys/fs/cgroup/cgroup.controllers") {
        Ok(_) => 1,
        Err(_) => 2,
    }
}

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
    let Some(driver) = open(options).await else {
        return;
    };
    let config = ContainerConfig::new("session", "host").command(["sleep", "1000"]);
    let container = driver.run_container(&config).await.unwrap();
    let code = async || {
        let spec = ExecSpec::new(["sh", "-c", "exit 7"]);
        driver.exec(&container.id, &spec).await.unwrap().exit_code
    };
    // The server, a shim and an init that run; two with a first process each (not without root), and two without for what
    // comes.
    let runs = if is_root() { 2 } else { 0 };
    let full = 1 + 2 + 2 * runs + 2;
    until("two of each wait", || waiting().len() == full).await;
    assert_eq!(code().await, 7);
    // And one that has joined the container, with its process in it.
    let full = full + for_an_exec();
    until("another exec is waited for", || waiting().len() == full).await;
    assert_eq!(code().await, 7);
    until("they are made anew", || waiting().len() == full).await;

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

/// Of a container's pids none waits; what is looked up ahead is looked up anew; what cannot be done is told as ever.
#[tokio::test(flavor = "multi_thread")]
async fn execs_by_a_process_that_waited_are_as_ever() {
    if !is_root() {
        println!("skipped: needs root, to be root in the container and write its files");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let options = LocalOptions::default()
        .state_dir(state.path().join("state"))
        .prepared_execs(2);
    let Some(driver) = open(options).await else {
        return;
    };
    let config = ContainerConfig::new("session", "host")
        .command(["sleep", "1000"])
        .security(SecurityOptions::default().read_only(false).user("0"));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(driver.run_container(&config).await.unwrap().id);
    }
    let sh = |script: &str| ExecSpec::new(["sh", "-c", script]);
    let joined = async |count: usize| {
        let inside = || {
            ids.iter()
                .map(|id| waiting_in(&state.path().join("state/containers").join(id)))
        };
        until("they wait", || inside().sum::<usize>() == count).await;
        inside().collect::<Vec<_>>()
    };
    for id in &ids {
        assert_eq!(driver.exec(id, &sh("exit 7")).await.unwrap().exit_code, 7);
    }
    // The oldest is let go of.
    assert_eq!(joined(2).await, [0, 1, 1]);
    let [.., id] = ids.as_slice() else { unreachable!() };
    let pids = driver.container_stats(id).await.unwrap().pids.current;
    assert_eq!(pids, Some(2), "init and sleep");

    let directory = sh("pwd").working_dir("/work");
    let missing = driver.exec(id, &directory).await.unwrap_err();
    assert_eq!(missing.code(), "EXEC_START_FAILED");
    assert!(
        missing.to_string().contains("working directory /work"),
        "{missing}"
    );
    joined(2).await;
    assert_eq!(
        driver
            .exec(
                id,
                &sh("mkdir -m 711 /work; echo root:x:0:4711::/work:/bin/sh > /etc/passwd")
            )
            .await
            .unwrap()
            .exit_code,
        0
    );
    joined(2).await;
    let told = driver
        .exec(id, &sh("id -g; pwd; echo $HOME").working_dir("/work"))
        .await
        .unwrap();
    assert_eq!(told.stdout.to_text(), "4711\n/work\n/work\n");
    joined(2).await;
    let timeout = driver.exec(id, &sh("sleep 1000").timeout_ms(50)).await.unwrap();
    assert!(timeout.timed_out);
    joined(2).await;

    driver.pause_container(id).await.unwrap();
    assert_eq!(
        driver.exec(id, &sh("true")).await.unwrap_err().code(),
        "INVALID_STATE"
    );
    driver.resume_container(id).await.unwrap();
    driver.stop_container(id, &StopOptions::default()).await.unwrap();
    assert_eq!(joined(1).await, [0, 1, 0]);
    driver.start_container(id).await.unwrap();
    assert_eq!(driver.exec(id, &sh("exit 9")).await.unwrap().exit_code, 9);
    joined(2).await;
    for id in &ids {
        driver.force_remove(id).await.unwrap();
    }
    driver.shutdown(ShutdownMode::Leave).await.unwrap();
}

/// The shim and the init of a container that runs.
fn keepers(id: &str, state: &Path) -> [i32; 2] {
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
