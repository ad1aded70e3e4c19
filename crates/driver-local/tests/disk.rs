//! A writable root on a loop image through what the conformance suite cannot bring about: a reboot, and a maker that died.
//! Skipped where containers or loop images cannot be made.

#![allow(clippy::unwrap_used)]

#[path = "common/disk.rs"]
mod fixture;

use std::fs;
use std::path::Path;
use std::time::Duration;

use driver_local::{DiskBackend, LocalDriver};
use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt};
use nix::mount::{MntFlags, umount2};

fn open(state: &Path) -> LocalDriver {
    fixture::open(state, DiskBackend::Loop)
}

async fn can_run(driver: &LocalDriver) -> bool {
    let lack = fixture::lack(driver).await;
    if let Some(lack) = &lack {
        println!("skipped: {lack}");
    }
    lack.is_none()
}

fn config() -> ContainerConfig {
    fixture::config(["sh", "-c", "echo run >> /kept; cat /kept"])
}

/// The loop devices on files below a directory, those of deleted files included.
fn loops(below: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .filter(|file| Path::new(file.trim()).starts_with(below))
        .collect()
}

/// A shim that held the files a moment ago may not have ended yet, and the device lives as long as it does.
async fn no_loops(below: &Path) {
    let freed = async {
        while !loops(below).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed)
        .await
        .unwrap_or_else(|_| panic!("left: {:?}", loops(below)));
}

#[tokio::test]
async fn content_survives_a_stop_and_a_reboot() {
    let state = tempfile::tempdir().unwrap();
    let driver = open(state.path());
    if !can_run(&driver).await {
        return;
    }
    let id = driver.run_container(&config()).await.unwrap().id;
    driver.wait_exit(&id).await.unwrap();
    driver.start_container(&id).await.unwrap();
    driver.wait_exit(&id).await.unwrap();
    assert_eq!(driver.read_file(&id, "/kept").await.unwrap(), "run\nrun\n");

    let disk = state.path().join("containers").join(&id).join("disk");
    let reboot = async || {
        umount2(&disk, MntFlags::MNT_DETACH).unwrap();
        no_loops(state.path()).await;
    };
    reboot().await;
    assert_eq!(driver.read_file(&id, "/kept").await.unwrap(), "run\nrun\n");
    reboot().await;
    driver.start_container(&id).await.unwrap();
    driver.wait_exit(&id).await.unwrap();
    assert_eq!(driver.read_file(&id, "/kept").await.unwrap(), "run\nrun\nrun\n");

    driver.force_remove(&id).await.unwrap();
    no_loops(state.path()).await;
}

#[tokio::test]
async fn what_a_dead_maker_mounted_is_swept() {
    let state = tempfile::tempdir().unwrap();
    let driver = open(state.path());
    if !can_run(&driver).await {
        return;
    }
    let id = driver.create_container(&config()).await.unwrap().id;
    drop(driver);
    // As it is when the maker dies just before its last step.
    let containers = state.path().join("containers");
    fs::rename(containers.join(&id), containers.join(format!(".new-{id}"))).unwrap();
    assert_eq!(loops(state.path()).len(), 1);
    open(state.path()).recover().await.unwrap();
    no_loops(state.path()).await;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(state.path().to_str().unwrap()));
    assert_eq!(fs::read_dir(&containers).unwrap().count(), 0);
}
