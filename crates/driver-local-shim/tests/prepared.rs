//! Runs by a first process that was made ahead of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::Shutdown;
use std::path::Path;

use common::{Place, Shim, skipped, until};
use driver_local_shim::{Cgroup, Report, Task};
use rstest::rstest;

/// A shim with a process that waits in these groups, and that process.
fn prepare(shm_bytes: u64, cgroups: Vec<Cgroup>) -> (Shim, i32) {
    let shim = Shim::idle().with(&Task::Prepare { cgroups, shm_bytes });
    let pid = shim.child.id();
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    // The one before it, which makes an empty mount namespace, has the network of all.
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let is_ahead = |child: &str| network(child).is_some_and(|other| Some(other) != network("self"));
    until("a process made ahead", || is_ahead(children().trim()));
    let ahead = children().trim().parse().unwrap();
    (shim, ahead)
}

#[rstest]
#[case::writable(true)]
#[case::read_only(false)]
fn it_becomes_the_container(#[case] writable: bool) {
    if skipped() {
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
    let (shim, ahead) = prepare(task.sandbox.shm_bytes, Vec::new());
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

/// Groups of version 1 in which a process waits, and what they are to be called. Nothing where the host has none.
fn groups(place: &mut Place) -> Option<(Vec<Cgroup>, Vec<Cgroup>)> {
    let made = ["memory", "pids"].map(|name| place.cgroup(name));
    let prepared: Vec<_> = made.into_iter().collect::<Option<_>>()?;
    let taken = prepared.iter().map(|group| match group {
        Cgroup::V1(path) => Cgroup::V1(format!("{path}-taken")),
        other => unreachable!("of version 1, and its own: {other:?}"),
    });
    Some((prepared.clone(), taken.collect()))
}

fn path(cgroup: &Cgroup) -> &Path {
    Path::new(cgroup.path())
}

/// The container is in the groups that it was made in, by the name that they have now.
#[test]
fn its_groups_become_the_containers() {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let Some((prepared, taken)) = groups(&mut place) else {
        return;
    };
    let mut task = place.script("cat /proc/self/cgroup; read line");
    task.stdin = true;
    task.cgroups = taken.clone();
    let (shim, ahead) = prepare(task.sandbox.shm_bytes, prepared.clone());
    let tasks = |group: &Cgroup| fs::read_to_string(path(group).join("tasks")).unwrap();
    let expected = format!("{ahead}\n");
    until("it is in them", || {
        prepared.iter().all(|group| tasks(group) == expected)
    });
    for (old, new) in prepared.iter().zip(&taken) {
        fs::rename(path(old), path(new)).unwrap();
    }
    let mut shim = shim.with_taken(task);
    match shim.report() {
        Report::Started { init_pid, .. } => assert_eq!(init_pid, ahead),
        other => panic!("{other:?}"),
    }
    assert!(taken.iter().all(|group| tasks(group).starts_with(&expected)));
    driver_local_shim::close_stdin(&place.directory()).unwrap();
    let ended = place.end(shim);
    for name in ["memory", "pids"] {
        assert!(ended.out.contains(&format!(":{name}:/\n")), "{ended:?}");
    }
    assert!(taken.iter().all(|group| !path(group).exists()));
    place.nothing_left();
}

/// A group of version 2 cannot be renamed: the container is in it by the name that it has.
#[rstest]
#[case::its_own(true)]
#[case::another(false)]
fn its_group_of_version_2_is_the_containers(#[case] own: bool) {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let (Some(prepared), Some(other)) = (place.cgroup_v2(), place.cgroup_v2()) else {
        return;
    };
    let mut task = place.script("cat /proc/self/cgroup; read line");
    task.stdin = true;
    task.cgroups = vec![if own { prepared.clone() } else { other.clone() }];
    let (shim, ahead) = prepare(task.sandbox.shm_bytes, vec![prepared.clone()]);
    let processes = |group: &Cgroup| fs::read_to_string(path(group).join("cgroup.procs")).unwrap();
    assert_eq!(processes(&prepared), format!("{ahead}\n"));
    let mut shim = match own {
        true => shim.with_taken(task),
        false => shim.with(&Task::Run(Box::new(task))),
    };
    // A process is not moved into another group.
    let pid = match shim.report() {
        Report::Started { init_pid, .. } => init_pid,
        other => panic!("{other:?}"),
    };
    assert_eq!(pid == ahead, own);
    let group = if own { &prepared } else { &other };
    assert!(processes(group).starts_with(&format!("{pid}\n")));
    driver_local_shim::close_stdin(&place.directory()).unwrap();
    let ended = place.end(shim);
    assert!(ended.out.contains("0::/\n"), "{ended:?}");
    assert!(!path(group).exists());
    place.nothing_left();
}

/// Without a run nothing stays of them.
#[rstest]
#[case::driver_gone(false)]
#[case::run_failed(true)]
fn its_groups_end_with_it(#[case] runs: bool) {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let Some((prepared, taken)) = groups(&mut place) else {
        return;
    };
    let (shim, _) = prepare(4096, prepared.clone());
    let mut shim = if runs {
        let mut task = place.script("true");
        task.sandbox.shm_bytes = 4096;
        task.process.argv = vec!["/missing".to_owned()];
        // The driver was killed before it gave them their name.
        task.cgroups = taken;
        let mut shim = shim.with_taken(task);
        assert!(matches!(shim.report(), Report::Failed { .. }));
        shim
    } else {
        shim
    };
    shim.socket.shutdown(Shutdown::Both).unwrap();
    shim.child.wait().unwrap();
    assert!(prepared.iter().all(|group| !path(group).exists()));
}

/// A run that it does not fit is made by another process.
#[test]
fn another_takes_its_place_where_it_does_not_fit() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let task = place.script("df /dev/shm | tail -n 1 | grep -c 1024");
    let (shim, ahead) = prepare(4096, Vec::new());
    let mut shim = shim.with(&Task::Run(Box::new(task)));
    match shim.report() {
        Report::Started { init_pid, .. } => assert_ne!(init_pid, ahead),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.end(shim).out, "1\n");
    place.nothing_left();
}
