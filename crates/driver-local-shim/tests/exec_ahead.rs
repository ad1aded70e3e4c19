//! Execs by a process that joined the container ahead of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::Shutdown;

use common::running::{Running, close_stdin, finish};
use common::{Place, Shim, kill, skipped, until};
use driver_local_shim::{Cgroup, ExecTask, JoinTask, Report, Task};
use rstest::rstest;

fn begin(container: &Running) -> Shim {
    let join = JoinTask {
        target: container.target(),
        rights: container.task.process.rights.clone(),
    };
    Shim::idle().with(&Task::Join(Box::new(join)))
}

/// A shim that has joined a container, and its process in it.
fn join(container: &Running) -> (Shim, i32) {
    let shim = begin(container);
    let pid = shim.child.id();
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    until("a process in the container", || !children().is_empty());
    let ahead = children().trim().parse().unwrap();
    // After what it looks up.
    until("it is as its program will be", || {
        fs::read_link(format!("/proc/{ahead}/fd/0"))
            .is_ok_and(|link| link.to_str().unwrap().starts_with("socket:"))
    });
    (shim, ahead)
}

/// Gives the user another group.
fn change_passwd(place: &Place) {
    let passwd = place.layer().join("etc/passwd");
    let changed = fs::read_to_string(&passwd)
        .unwrap()
        .replace("root:x:0:0", "root:x:0:4711");
    fs::write(&passwd, changed).unwrap();
}

#[test]
fn it_becomes_the_guard_and_is_in_the_cgroups_only_then() {
    if skipped() {
        return;
    }
    let container = Running::new(|task, place| {
        let groups = ["pids", "memory"];
        task.cgroups = groups.into_iter().filter_map(|name| place.cgroup(name)).collect();
    });
    let cgroups = container.task.cgroups.clone();
    let tasks = |cgroup: &Cgroup| fs::read_to_string(format!("{}/tasks", cgroup.path())).unwrap();
    let counts = |expected: usize| {
        let mut cgroups = cgroups.iter();
        cgroups.all(|cgroup| tasks(cgroup).lines().count() == expected)
    };
    let (shim, ahead) = join(&container);
    // Init, main, its sleep.
    until("not that of the process", || counts(3));
    let mut task = container.exec_task("cat /proc/self/cgroup; pwd; read line");
    task.guard_arguments = vec!["--stdin".to_owned()];
    task.process.working_dir = "/data".to_owned();
    let mut exec = shim.with(&Task::Exec(Box::new(task)));
    assert_eq!(exec.report(), Report::Ready);
    // Guard and shell.
    until("all processes", || counts(5));
    let pid = format!("{ahead}\n");
    assert!(cgroups.iter().all(|cgroup| tasks(cgroup).contains(&pid)));
    close_stdin(&mut exec);
    let (out, err, exit) = finish(&mut exec);
    for name in cgroups
        .iter()
        .map(|cgroup| cgroup.path().split('/').nth(4).unwrap())
    {
        assert!(out.contains(&format!(":{name}:/\n")), "{out}");
    }
    assert!(out.ends_with("/data\n"), "{out}");
    assert_eq!((err.as_str(), exit), ("", Some((1, 0))));
    container.end();
}

/// Another process tells why, or does better.
#[rstest]
#[case::rights(|task: &mut ExecTask, _: &Place| task.process.rights.capabilities = 1 << 5)]
#[case::user(|task: &mut ExecTask, _: &Place| task.process.rights.identity.user = "ada".to_owned())]
#[case::container(|task: &mut ExecTask, _: &Place| task.target.init_start_time += 1)]
#[case::directory(|task: &mut ExecTask, _: &Place| task.process.working_dir = "/no/such".to_owned())]
#[case::passwd(|_: &mut ExecTask, place: &Place| change_passwd(place))]
fn it_ends_without_a_word_where_it_cannot_serve(#[case] change: fn(&mut ExecTask, &Place)) {
    if skipped() {
        return;
    }
    let container = Running::new(|task, place| task.sandbox.root.writable = place.writable());
    let (shim, _) = join(&container);
    let mut task = container.exec_task("touch /data/ran");
    change(&mut task, &container.place);
    let mut exec = shim.with(&Task::Exec(Box::new(task)));
    assert_eq!(exec.rest(), b"");
    exec.child.wait().unwrap();
    assert!(!container.place.temp.path().join("disk/upper/data/ran").exists());
    container.end();
}

/// Nothing of it outlives the container, or the driver.
#[rstest]
#[case::container(true)]
#[case::driver(false)]
fn it_ends_with(#[case] container_first: bool) {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let (mut shim, ahead) = join(&container);
    if container_first {
        container.end();
        shim.child.wait().unwrap();
    } else {
        shim.socket.shutdown(Shutdown::Both).unwrap();
        shim.child.wait().unwrap();
        container.end();
    }
    // It was reaped by its shim, so its number is nobody's.
    assert!(!std::path::Path::new(&format!("/proc/{ahead}")).exists());
}

/// What kills all processes that it can see kills this one, and the container does not miss it.
#[test]
fn it_can_be_killed() {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let (mut shim, ahead) = join(&container);
    kill(ahead, 15);
    kill(ahead, 9);
    assert_eq!(shim.rest(), b"");
    shim.child.wait().unwrap();
    container.end();
}

/// With version 2 a process begins in its cgroup: none does before the exec.
#[rstest]
#[case::exec(true)]
#[case::end_of_the_container(false)]
fn with_cgroups_of_version_2(#[case] executes: bool) {
    if skipped() {
        return;
    }
    let container = Running::new(|task, place| task.cgroups = place.cgroup_v2().into_iter().collect());
    let [Cgroup::V2(cgroup)] = container.task.cgroups.as_slice() else {
        return;
    };
    let processes = || {
        fs::read_to_string(format!("{cgroup}/cgroup.procs"))
            .unwrap()
            .lines()
            .count()
    };
    let mut shim = begin(&container);
    let pid = shim.child.id();
    let namespace = |pid: &dyn std::fmt::Display| fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    until("it has joined", || namespace(&pid) == namespace(&container.pid));
    assert_eq!(processes(), 3);
    if executes {
        let mut task = container.exec_task("cat /proc/self/cgroup; read line");
        task.guard_arguments = vec!["--stdin".to_owned()];
        let mut exec = shim.with(&Task::Exec(Box::new(task)));
        assert_eq!(exec.report(), Report::Ready);
        until("guard and shell", || processes() == 5);
        close_stdin(&mut exec);
        assert!(finish(&mut exec).0.contains("0::/\n"));
        container.end();
    } else {
        container.end();
        shim.child.wait().unwrap();
    }
}
