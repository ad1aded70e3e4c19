//! Runs by a first process that was made ahead of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, Shim, skipped, until};
use driver_local_shim::{Report, Task};
use rstest::rstest;

/// The one child of the shim.
fn ahead(shim: &Shim) -> i32 {
    let pid = shim.child.id();
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    until("a process made ahead", || !children().is_empty());
    children().trim().parse().unwrap()
}

/// Whether an overlay can have a layer that is not mounted anywhere: from Linux 6.15 on.
fn takes_detached_layers() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().unwrap().parse::<u32>().unwrap();
    (next(), next()) >= (6, 15)
}

#[rstest]
#[case::writable(true)]
#[case::read_only(false)]
fn it_becomes_the_container(#[case] writable: bool) {
    if skipped() {
        return;
    }
    if !writable && !takes_detached_layers() {
        println!("skipped: before Linux 6.15 a read-only root is made by another process");
        return;
    }
    let place = Place::new();
    // Its own root and processes, and nothing of what is below.
    let mut task = place.script("hostname; ls /..; grep -c . /proc/self/mountinfo; ls /dev/pts");
    task.sandbox.root.writable = place.writable().filter(|_| writable);
    let mounts = {
        let unprepared = Place::new();
        let mut task = unprepared.script("grep -c . /proc/self/mountinfo");
        task.sandbox.root.writable = unprepared.writable().filter(|_| writable);
        unprepared.run(task).out
    };
    let shm_bytes = task.sandbox.shm_bytes;
    let shim = Shim::idle().with(&Task::Prepare { shm_bytes });
    let ahead = ahead(&shim);
    let mut shim = shim.with(&Task::Run(Box::new(task)));
    match shim.report() {
        Report::Started { init_pid, .. } => assert_eq!(init_pid, ahead),
        other => panic!("{other:?}"),
    }
    let ended = place.end(shim);
    let expected = format!("inside\nbin\nclosed\ndata\ndev\netc\nproc\nroot\nsys\ntmp\n{mounts}ptmx\n");
    assert_eq!(ended.out, expected, "{ended:?}");
    place.nothing_left();
}

/// A run that it does not fit is made by another process.
#[test]
fn another_takes_its_place_where_it_does_not_fit() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let task = place.script("df /dev/shm | tail -n 1 | grep -c 1024");
    let shim = Shim::idle().with(&Task::Prepare { shm_bytes: 4096 });
    let ahead = ahead(&shim);
    let mut shim = shim.with(&Task::Run(Box::new(task)));
    match shim.report() {
        Report::Started { init_pid, .. } => assert_ne!(init_pid, ahead),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.end(shim).out, "1\n");
    place.nothing_left();
}
