//! Cgroups of version 1: joined by all processes, lack of memory is told, removed at the end.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Place, Shim, skipped, until};
use driver_local_shim::{Cgroup, Stage, Task};
use rstest::rstest;

#[rstest]
#[case(true)]
#[case(false)]
fn all_processes_are_in_them(#[case] init: bool) {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let Some(cgroups) = ["memory", "pids", "freezer"]
        .map(|name| place.cgroup(name))
        .into_iter()
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let mut task = place.script("cat /proc/self/cgroup; read line");
    task.init = init;
    task.stdin = true;
    task.cgroups = cgroups.clone();
    let (shim, pid) = Shim::start(task);
    until("output", || {
        place.log().0.contains("name=") || place.log().0.lines().count() > 8
    });
    let expected = if init { 2 } else { 1 };
    for cgroup in &cgroups {
        let tasks = || fs::read_to_string(format!("{}/tasks", cgroup.path())).unwrap();
        // The script's `cat` may still be about to end; the shim would stay.
        until("the container's processes alone", || {
            tasks().lines().count() == expected
        });
        assert!(tasks().lines().any(|line| line == pid.to_string()), "{}", tasks());
    }
    driver_local_shim::close_stdin(&place.directory()).unwrap();
    let ended = place.end(shim);
    for name in ["memory", "pids", "freezer"] {
        assert!(
            ended.out.contains(&format!(":{name}:/\n")),
            "the namespace begins at the cgroup: {ended:?}"
        );
    }
    assert!(cgroups.iter().all(|cgroup| !Path::new(cgroup.path()).exists()));
    place.nothing_left();
}

/// Version 2: cloned into it, killed as a whole, removed. No controller is needed for that.
#[rstest]
#[case(true)]
#[case(false)]
fn version_2(#[case] init: bool) {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let Some(cgroup) = place.cgroup_v2() else {
        return;
    };
    let mut task = place.script("grep '^0:' /proc/self/cgroup; (setsid sleep 1000 &); read line; exit 4");
    task.init = init;
    task.stdin = true;
    task.cgroups = vec![cgroup.clone()];
    let (shim, pid) = Shim::start(task);
    until("output", || place.log().0 == "0::/\n");
    let processes = fs::read_to_string(format!("{}/cgroup.procs", cgroup.path())).unwrap();
    assert!(
        processes.lines().any(|line| line == pid.to_string()),
        "{processes}"
    );
    driver_local_shim::close_stdin(&place.directory()).unwrap();
    place.end(shim).code(4);
    assert!(!Path::new(cgroup.path()).exists());
}

#[test]
fn a_lack_of_memory_is_told_before_the_end() {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let Some(memory) = place.cgroup("memory") else {
        return;
    };
    fs::write(
        format!("{}/memory.limit_in_bytes", memory.path()),
        (16 << 20).to_string(),
    )
    .unwrap();
    let mut task = place.script("read line; tail -c 200000000 /dev/zero; echo $?; read line; exit 3");
    task.stdin = true;
    task.cgroups = vec![memory];
    let (shim, _) = Shim::start(task);
    let mut stdin = fs::File::from(driver_local_shim::attach(&place.directory()).unwrap());
    std::io::Write::write_all(&mut stdin, b"go\n").unwrap();
    // While the run goes on.
    until("the record", || {
        fs::read_to_string(place.directory().join("journal"))
            .unwrap()
            .contains("{\"oom\":{\"run\":0,")
    });
    until("the code of the killed process", || place.log().0 == "137\n");
    drop(stdin);
    driver_local_shim::close_stdin(&place.directory()).unwrap();
    let ended = place.end(shim);
    assert_eq!(
        ended.exited(),
        "{\"exited\":{\"run\":0,\"code\":3,\"signal\":null,\"oom\":true,\"clean\":true"
    );
    assert_eq!(ended.journal.matches("\"oom\":{").count(), 1, "{ended:?}");
}

/// The main process itself is killed: the end comes at once, and yet the reason before it.
#[rstest]
#[case(true)]
#[case(false)]
fn a_main_process_without_memory(#[case] init: bool) {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let Some(memory) = place.cgroup("memory") else {
        return;
    };
    fs::write(
        format!("{}/memory.limit_in_bytes", memory.path()),
        (16 << 20).to_string(),
    )
    .unwrap();
    let mut task = place.task(&["tail", "-c", "200000000", "/dev/zero"]);
    task.init = init;
    task.cgroups = vec![memory];
    let ended = place.run(task);
    assert_eq!(
        ended.exited(),
        "{\"exited\":{\"run\":0,\"code\":137,\"signal\":9,\"oom\":true,\"clean\":true"
    );
    let records: Vec<_> = ended.journal.lines().map(|line| &line[2..5]).collect();
    assert_eq!(records, ["sta", "oom", "exi"]);
}

/// With room for one process there is none for a program under an init.
#[test]
fn a_limit_of_processes() {
    if skipped() {
        return;
    }
    let mut place = Place::new();
    let Some(pids) = place.cgroup("pids") else {
        return;
    };
    fs::write(format!("{}/pids.max", pids.path()), "1").unwrap();
    let mut task = place.task(&["true"]);
    task.cgroups = vec![pids.clone()];
    let (stage, _, message) = place.fails(task.clone());
    assert_eq!(stage, Stage::Exec, "{message}");
    assert!(
        Path::new(pids.path()).exists(),
        "what the driver made stays after a failed start"
    );
    task.init = false;
    place.run(task).code(0);
    assert!(!Path::new(pids.path()).exists());
}

#[test]
fn a_cgroup_that_is_not_there() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.task(&["true"]);
    task.cgroups = vec![Cgroup::V1("/sys/fs/cgroup/memory/no-such-cgroup".to_owned())];
    let (stage, _, message) = place.fails(task);
    assert_eq!(stage, Stage::Cgroups);
    assert!(
        message.starts_with("/sys/fs/cgroup/memory/no-such-cgroup/tasks: "),
        "{message}"
    );
}

/// A driver that is gone before it was told of the start: nothing of the container stays, at whichever moment.
#[test]
fn a_driver_that_is_killed_during_the_start() {
    if skipped() {
        return;
    }
    for after in 0..12 {
        let mut place = Place::new();
        let cgroups: Vec<_> = ["pids", "memory"]
            .into_iter()
            .filter_map(|name| place.cgroup(name))
            .collect();
        let mut task = place.script("sleep 1000");
        task.cgroups = cgroups.clone();
        let mut shim = Shim::spawn(Task::Run(Box::new(task)));
        // Ever later in the start.
        for _ in 0..after * 20_000 {
            std::hint::spin_loop();
        }
        drop(std::mem::replace(
            &mut shim.socket,
            std::os::unix::net::UnixStream::pair().unwrap().0,
        ));
        let journal = place.directory().join("journal");
        let begun = || fs::read_to_string(&journal).is_ok_and(|text| text.contains("started"));
        let mut ended = false;
        until("the end of the start", || {
            ended = shim.child.try_wait().unwrap().is_some();
            ended || begun()
        });
        if !ended {
            // It was faster: it runs, and the journal says so.
            let text = fs::read_to_string(&journal).unwrap();
            let pid = text
                .split("\"initPid\":")
                .nth(1)
                .unwrap()
                .split(',')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            common::kill(pid, 9);
            place.end(shim).signal(9);
            assert!(cgroups.iter().all(|cgroup| !Path::new(cgroup.path()).exists()));
        } else {
            assert!(!begun());
            // Nobody is left in them. They are the driver's to remove: the next start may be making them anew.
            for cgroup in &cgroups {
                let tasks = fs::read_to_string(format!("{}/tasks", cgroup.path())).unwrap();
                assert_eq!(tasks, "");
                fs::remove_dir(cgroup.path()).unwrap();
            }
        }
    }
}
