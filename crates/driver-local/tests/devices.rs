//! /dev of containers whose driver may not make devices, as in a container without CAP_MKNOD. Skipped where there are no rights.

#![allow(clippy::unwrap_used)]

#[path = "common/open.rs"]
mod open;

use std::process::Command;

use driver_local::LocalOptions;
use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, LogOptions, SecurityOptions};

/// In the environment of the process that lacks the right.
const INSIDE: &str = "DRIVER_TEST_WITHOUT_MKNOD";

const SCRIPT: &str =
    "echo lost >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && ls /dev";

/// A bare mount namespace has no devices to bind, so that the tree of the host is used.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_make_devices_there_are_those_of_the_host() {
    if std::env::var_os(INSIDE).is_some() {
        return run_a_container().await;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root has rights to lose");
        return;
    }
    // What the machine lacks is told here: inside, only the right is missing.
    let state = tempfile::tempdir().unwrap();
    if open::open(options(&state)).await.is_none() {
        return;
    }
    let output = Command::new("setpriv")
        .args(["--bounding-set=-mknod", "--inh-caps=-mknod"])
        .arg(std::env::current_exe().unwrap())
        .arg("--nocapture")
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    print!("{}", String::from_utf8_lossy(&told));
    assert!(output.status.success());
}

fn options(state: &tempfile::TempDir) -> LocalOptions {
    LocalOptions::default().state_dir(state.path().join("state"))
}

async fn run_a_container() {
    let state = tempfile::tempdir().unwrap();
    let device = state.path().join("device");
    let made = Command::new("mknod").arg(device).args(["c", "1", "3"]).status();
    assert!(!made.unwrap().success(), "this process has the right");
    let driver = open::open(options(&state)).await;
    let driver = driver.expect("a driver without that right alone");
    for read_only in [true, false] {
        let security = SecurityOptions::default().read_only(read_only);
        let config = ContainerConfig::new("session", "host")
            .command(["sh", "-c", SCRIPT])
            .security(security);
        let id = driver.run_container(&config).await.unwrap().id;
        let exit = driver.wait_exit(&id).await.unwrap();
        let options = LogOptions::default();
        let logs = driver.get_container_logs(&id, &options).await.unwrap();
        assert_eq!(exit.exit_code, Some(0), "{logs}");
        let lines: Vec<&str> = logs.lines().collect();
        assert_eq!(lines[..2], ["4", "4"], "{logs}");
        for name in ["full", "null", "ptmx", "random", "shm", "tty", "urandom", "zero"] {
            assert!(lines.contains(&name), "{name} is missing: {logs}");
        }
        driver.force_remove(&id).await.unwrap();
    }
}
