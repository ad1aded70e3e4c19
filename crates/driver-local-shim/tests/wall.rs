//! The wall around a shim that watches: its own files are all that it reaches.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::{Place, Shim, kill, skipped, until};
use driver_local_shim::Cgroup;

/// Whoever leads the shim astray, here by a link above its cgroup, gets nowhere.
#[test]
fn a_shim_that_is_led_astray_removes_nothing() {
    if skipped() {
        return;
    }
    if fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|list| !list.contains("landlock")) {
        eprintln!("skipped: Landlock is off");
        return;
    }
    let place = Place::new();
    for directory in ["groups/one", "victim/one"] {
        fs::create_dir_all(place.temp.path().join(directory)).unwrap();
    }
    fs::write(place.temp.path().join("groups/one/tasks"), "").unwrap();
    let mut task = place.script("sleep 1000");
    task.cgroups = vec![Cgroup::V1(place.text("groups/one"))];
    let (shim, init) = Shim::start(task);
    let status = format!("/proc/{}/status", shim.child.id());
    until("the wall", || {
        fs::read_to_string(&status).unwrap().contains("NoNewPrivs:\t1")
    });
    fs::rename(place.text("groups"), place.text("away")).unwrap();
    symlink("victim", place.text("groups")).unwrap();
    kill(init, 9);
    // And it says so.
    assert_eq!(
        place.end(shim).exited(),
        "{\"exited\":{\"run\":0,\"code\":137,\"signal\":9,\"oom\":false,\"clean\":false"
    );
    place.nothing_left();
    assert!(fs::exists(place.text("victim/one")).unwrap());
}
