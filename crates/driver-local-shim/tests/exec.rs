//! Processes in a running container, under the exec guard.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::running::{Running, close_stdin, finish};
use common::{skipped, until};
use driver_local_shim::{Report, Stage};
use rstest::rstest;

#[test]
fn it_is_in_the_container() {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let script = "hostname; cat /proc/1/comm > /dev/null; ls /; pwd; echo $HOME; ps -o pid | wc -l; ls /proc/self/fd; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status; exit 9";
    let mut exec = container.exec(script, |task| task.process.working_dir = "/data".to_owned());
    assert_eq!(exec.report(), Report::Ready);
    let (out, err, exit) = finish(&mut exec);
    assert!(
        out.starts_with(
            "inside\nbin\nclosed\ndata\ndev\netc\nlib\nlib64\nproc\nroot\nsys\ntmp\n/data\n/root\n"
        ),
        "{out}{err}"
    );
    let rest = out.split("/root\n").last().unwrap();
    // Header, init, main, its sleep, guard, shell, ps, wc: the shim's own process is outside.
    assert!(rest.starts_with("8\n0\n1\n2\n3\n"), "{rest}");
    assert!(rest.contains("SigBlk:\t0000000000000000\n"), "{rest}");
    // The C library's spawn ignores two signals of its own in a child.
    let ignored = rest.split("SigIgn:\t").nth(1).unwrap().trim();
    assert_eq!(
        u64::from_str_radix(ignored, 16).unwrap() & !0x1_8000_0000,
        0,
        "{rest}"
    );
    assert_eq!((err.as_str(), exit), ("", Some((9, 0))));
    container.end();
}

#[test]
fn it_has_its_own_identity_and_rights() {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let mut exec = container.exec("id; grep -E '^(Cap|NoNewPrivs)' /proc/self/status", |task| {
        task.process.rights.identity.user = "ada".to_owned();
        task.process.rights.capabilities = 1 << 5;
    });
    assert_eq!(exec.report(), Report::Ready);
    let (out, ..) = finish(&mut exec);
    let expected = "uid=1000(ada) gid=1001(ada) groups=1001(ada),3000(extra)\nCapInh:\t0000000000000000\n\
                    CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000020\n\
                    CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";
    assert_eq!(out, expected);
    container.end();
}

#[rstest]
#[case::user("nobody", "/", Stage::Privileges, "user \"nobody\"")]
#[case::directory("0", "/no/such", Stage::WorkingDir, "working directory /no/such")]
#[case::descriptor(
    "0",
    "/proc/self/fd/5",
    Stage::WorkingDir,
    "working directory /proc/self/fd/5"
)]
fn a_failure_is_told(
    #[case] user: &str,
    #[case] directory: &str,
    #[case] expected: Stage,
    #[case] text: &str,
) {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let mut exec = container.exec("true", |task| {
        task.process.rights.identity.user = user.to_owned();
        task.process.working_dir = directory.to_owned();
    });
    match exec.report() {
        Report::Failed { stage, message, .. } => {
            assert_eq!(stage, expected);
            assert!(message.contains(text), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!exec.child.wait().unwrap().success());
    container.end();
}

/// Another process that has got the number of a container's is never joined.
#[test]
fn another_process_is_not_joined() {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let mut exec = container.exec("true", |task| task.target.init_start_time += 1);
    match exec.report() {
        Report::Failed { stage, message, .. } => {
            assert_eq!(stage, Stage::Namespaces);
            assert!(message.contains("has ended"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    exec.child.wait().unwrap();
    container.end();
}

#[test]
fn it_is_in_the_cgroups() {
    if skipped() {
        return;
    }
    let mut paths = Vec::new();
    let container = Running::new(|task, place| {
        task.cgroups = ["pids", "memory"]
            .into_iter()
            .filter_map(|name| place.cgroup(name))
            .collect();
        paths.extend(task.cgroups.iter().map(|cgroup| cgroup.path().to_owned()));
    });
    let mut exec = container.exec("cat /proc/self/cgroup; read line", |task| {
        task.guard_arguments = vec!["--stdin".to_owned()];
    });
    assert_eq!(exec.report(), Report::Ready);
    for path in &paths {
        // Init, main, its sleep, guard, shell.
        until("all processes", || {
            fs::read_to_string(format!("{path}/tasks"))
                .unwrap()
                .lines()
                .count()
                == 5
        });
    }
    close_stdin(&mut exec);
    let (out, ..) = finish(&mut exec);
    for (path, name) in paths.iter().zip(["pids", "memory"]) {
        assert!(out.contains(&format!(":{name}:/\n")), "{out}");
        assert!(Path::new(path).exists());
    }
    container.end();
    assert!(paths.iter().all(|path| !Path::new(path).exists()));
}

/// The guard ends the tree when the driver is gone, and the shim's own process ends with it.
#[test]
fn a_driver_that_is_gone() {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let mut exec = container.exec("sleep 4711; true", |_| {});
    assert_eq!(exec.report(), Report::Ready);
    let sleeps = || {
        let children = fs::read_dir("/proc").unwrap().flatten();
        let lines = children.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line == b"sleep\x004711\0").count()
    };
    until("the program", || sleeps() == 1);
    exec.socket.shutdown(std::net::Shutdown::Both).unwrap();
    exec.child.wait().unwrap();
    assert_eq!(sleeps(), 0);
    container.end();
}

/// The end of the container is the end of the exec.
#[test]
fn a_container_that_ends() {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let mut exec = container.exec("echo started; sleep 1000", |_| {});
    assert_eq!(exec.report(), Report::Ready);
    container.end();
    exec.rest();
    exec.child.wait().unwrap();
}

/// A terminal, by the guard.
#[test]
fn a_terminal() {
    if skipped() {
        return;
    }
    let container = Running::new(|_, _| {});
    let mut exec = container.exec(
        "stty size; readlink /proc/self/fd/0; stat -c %U /proc/self/fd/0 > /dev/null",
        |task| {
            task.guard_arguments = ["--tty", "30x90"].map(str::to_owned).to_vec();
        },
    );
    assert_eq!(exec.report(), Report::Ready);
    let (out, ..) = finish(&mut exec);
    assert_eq!(out, "30 90\r\n/dev/pts/0\r\n");
    container.end();
}
