//! Runs of containers by the shim: the program, its end, its surroundings.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, Shim, skipped, until};
use driver_local_shim::{Bpf, Identity, Report, Stage, Task};
use rstest::rstest;

#[rstest]
#[case(true)]
#[case(false)]
fn streams_and_exit_code(#[case] init: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("echo out; echo err >&2; exit 7");
    task.init = init;
    let ended = place.run(task);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("out\n", "err\n"));
    ended.code(7);
    // Without cgroups the first process is written down before its program begins.
    let records: Vec<_> = ended.journal.lines().collect();
    let of_the_run =
        |record: &str, name: &str| record.starts_with(&format!("{{\"{name}\":{{\"run\":0,\"initPid\":"));
    assert!(
        of_the_run(records[0], "forked") && of_the_run(records[1], "started"),
        "{ended:?}"
    );
    place.nothing_left();
}

#[rstest]
#[case("no-such-program", 127)]
#[case("/no/such/program", 127)]
#[case("/etc/passwd", 126)]
#[case("/etc", 126)]
fn a_program_that_cannot_be_executed(
    #[case] program: &str,
    #[case] code: u8,
    #[values(true, false)] init: bool,
) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.task(&[program]);
    task.init = init;
    let (stage, exit_code, message) = place.fails(task);
    assert_eq!((stage, exit_code), (Stage::Exec, Some(code)), "{message}");
    assert!(message.contains(program), "{message}");
}

#[test]
fn a_signal_is_told_from_a_code() {
    if skipped() {
        return;
    }
    let place = Place::new();
    place.run(place.script("kill -9 $$")).signal(9);
    let place = Place::new();
    place.run(place.script("exit 137")).code(137);
}

/// Pid 1 is killed from outside: with it all others, and nobody could tell a code.
#[rstest]
#[case(true)]
#[case(false)]
fn the_end_of_pid_1_is_the_end_of_all(#[case] init: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("sleep 1000 & echo last words; sleep 1000");
    task.init = init;
    let (shim, pid) = Shim::start(task);
    until("output", || place.log().0 == "last words\n");
    common::kill(pid, 9);
    let ended = place.end(shim);
    ended.signal(9);
    place.nothing_left();
}

#[rstest]
#[case("1000", None, "uid=1000(ada) gid=1001(ada) groups=1001(ada),3000(extra)")]
#[case("ada", None, "uid=1000(ada) gid=1001(ada) groups=1001(ada),3000(extra)")]
#[case("ada", Some("extra"), "uid=1000(ada) gid=3000(extra) groups=3000(extra)")]
#[case("4000", Some("4001"), "uid=4000 gid=4001 groups=4001")]
fn user_and_groups(#[case] user: &str, #[case] group: Option<&str>, #[case] expected: &str) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task =
        place.script("id; grep -E '^Groups' /proc/self/status; echo $HOME; echo to a file > /dev/stdout");
    task.process.rights.identity = Identity {
        user: user.to_owned(),
        group: group.map(str::to_owned),
    };
    let ended = place.run(task);
    assert!(ended.out.starts_with(&format!("{expected}\n")), "{ended:?}");
    assert!(ended.out.ends_with("to a file\n"), "{ended:?}");
    let home = if user == "4000" { "\n/\n" } else { "\n/data\n" };
    assert!(ended.out.contains(home), "{ended:?}");
    ended.code(0);
}

#[rstest]
#[case("nobody", None, "user \"nobody\"")]
#[case("ada", Some("nogroup"), "group \"nogroup\"")]
fn an_unknown_user(#[case] user: &str, #[case] group: Option<&str>, #[case] expected: &str) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("id");
    task.process.rights.identity = Identity {
        user: user.to_owned(),
        group: group.map(str::to_owned),
    };
    let (stage, code, message) = place.fails(task);
    assert_eq!((stage, code), (Stage::Privileges, None));
    assert!(message.contains(expected), "{message}");
}

/// A passwd file that never ends, or is no file, holds nobody up.
#[rstest]
#[case("mkfifo")]
#[case("directory")]
#[case("too long")]
fn a_hostile_passwd_file(#[case] what: &str) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let passwd = place.layer().join("etc/passwd");
    fs::remove_file(&passwd).unwrap();
    match what {
        "mkfifo" => nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRUSR).unwrap(),
        "directory" => fs::create_dir(&passwd).unwrap(),
        _ => fs::File::create(&passwd).unwrap().set_len(1 << 40).unwrap(),
    }
    let (stage, _, message) = place.fails(place.script("id"));
    assert_eq!(stage, Stage::Privileges);
    assert!(message.starts_with("/etc/passwd: "), "{message}");
}

#[test]
fn rights_are_what_was_asked_for() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let script = "grep -E '^(Cap|NoNewPrivs|Sig(Blk|Ign)|Seccomp:)' /proc/self/status; ls /proc/self/fd; ulimit -n; umask";
    let mut task = place.script(script);
    task.process.rights.capabilities = 1 << 10 | 1 << 5;
    let ended = place.run(task);
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000420\nCapEff:\t0000000000000420\n\
                    CapBnd:\t0000000000000420\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n\
                    SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    let (status, rest) = ended.out.split_at(expected.len().min(ended.out.len()));
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(status), sorted(expected));
    // 3 is the directory that ls reads.
    assert_eq!(rest, "0\n1\n2\n3\n1024\n0022\n");
}

/// A user other than root has no capabilities, whatever the bounding set is; the filter comes last in both orders.
#[rstest]
#[case(true)]
#[case(false)]
fn a_filter_with_and_without_no_new_privileges(#[case] no_new_privileges: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task =
        place.script("grep -E '^(CapEff|NoNewPrivs|Seccomp:)' /proc/self/status; hostname; hostname new");
    task.process.rights.identity.user = "1000".to_owned();
    task.process.rights.no_new_privileges = no_new_privileges;
    task.process.rights.seccomp = Some(refuse_sethostname());
    let ended = place.run(task);
    let expected = format!(
        "CapEff:\t0000000000000000\nNoNewPrivs:\t{}\nSeccomp:\t2\ninside\n",
        u8::from(no_new_privileges)
    );
    assert_eq!(ended.out, expected);
    assert!(ended.err.contains("Function not implemented"), "{ended:?}");
}

/// `sethostname` gives ENOSYS, which the kernel itself never does; all else is allowed.
fn refuse_sethostname() -> Bpf {
    Bpf(vec![
        (0x20, 0, 0, 0),
        (0x15, 0, 1, nix::libc::SYS_sethostname as u32),
        (0x06, 0, 0, 0x0005_0000 | nix::libc::ENOSYS as u32),
        (0x06, 0, 0, 0x7fff_0000),
    ])
}

#[test]
fn a_broken_filter_is_a_failure() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("true");
    task.process.rights.seccomp = Some(Bpf(vec![(0x20, 0, 0, 0)]));
    assert_eq!(place.fails(task).0, Stage::Privileges);
}

#[test]
fn a_capability_that_is_not_there() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("true");
    task.process.rights.capabilities = 1 << 63;
    let (stage, _, message) = place.fails(task);
    assert_eq!(stage, Stage::Privileges);
    assert!(message.starts_with("capability number 63"), "{message}");
}

#[test]
fn namespaces_of_its_own() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let kinds = ["pid", "mnt", "uts", "ipc", "net", "cgroup"];
    let script = format!(
        "for kind in {}; do readlink /proc/self/ns/$kind; done; hostname; ip addr",
        kinds.join(" ")
    );
    let ended = place.run(place.script(&script));
    for (kind, inside) in kinds.iter().zip(ended.out.lines()) {
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(inside.starts_with(&format!("{kind}:[")), "{inside}");
        assert_ne!(outside.to_str(), Some(inside));
    }
    assert!(ended.out.contains("inside\n"), "{ended:?}");
    assert!(ended.out.contains("lo: <LOOPBACK,UP"), "{ended:?}");
    assert_eq!(
        ended.out.matches("LOOPBACK").count(),
        ended.out.matches(": <").count(),
        "{ended:?}"
    );
}

#[rstest]
#[case("/data", false, None)]
#[case("/data/new/deep", true, None)]
#[case("/data/new", false, Some("working directory /data/new"))]
#[case("/etc/passwd", true, Some("making /etc/passwd"))]
#[case("/proc/self/fd/7", false, Some("working directory /proc/self/fd/7"))]
#[case("/proc/1/cwd", false, Some("working directory /proc/1/cwd"))]
fn working_directory(
    #[case] path: &str,
    #[case] make: bool,
    #[case] refused: Option<&str>,
    #[values(true, false)] writable: bool,
) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("pwd");
    task.process.working_dir = path.to_owned();
    if make {
        task.sandbox.working_dir = path.to_owned();
    }
    task.sandbox.root.writable = place.writable().filter(|_| writable);
    let Some(refused) = refused else {
        let ended = place.run(task);
        assert_eq!(ended.out, format!("{path}\n"));
        return;
    };
    let (stage, _, message) = place.fails(task);
    assert_eq!(stage, Stage::WorkingDir);
    assert!(message.contains(refused), "{message}");
}

/// No descriptor of the shim can be a way out (CVE-2024-21626).
#[test]
fn no_descriptor_leads_out() {
    if skipped() {
        return;
    }
    for number in 0..40 {
        let place = Place::new();
        let mut task = place.script("pwd");
        task.process.working_dir = format!("/proc/self/fd/{number}");
        assert_eq!(place.fails(task).0, Stage::WorkingDir);
    }
}

#[test]
fn a_writable_root_keeps_its_files_between_runs() {
    if skipped() {
        return;
    }
    let place = Place::new();
    for run in 0..3 {
        let mut task = place.script("echo x >> /data/runs; cat /data/runs");
        task.sandbox.root.writable = place.writable();
        task.run = run;
        place.run(task);
    }
    let ended = place.ended();
    assert_eq!(ended.out, "x\nx\nx\nx\nx\nx\n");
    assert_eq!(ended.journal.matches("\"exited\"").count(), 3);
    assert_eq!(place.log_files().len(), 1, "runs share a log file");
    place.nothing_left();
}

#[test]
fn one_shim_a_container() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let (shim, pid) = Shim::start(place.script("sleep 1000"));
    let mut second = Shim::spawn(Task::Run(Box::new(place.script("true"))));
    match second.report() {
        Report::Failed { stage, message, .. } => {
            assert_eq!(stage, Stage::Prepare);
            assert!(message.contains("another shim"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    second.child.wait().unwrap();
    assert!(
        place.directory().join("shim.sock").exists(),
        "the second shim took what is the first's"
    );
    common::kill(pid, 9);
    place.end(shim).signal(9);
}

#[test]
fn a_broken_task_is_refused() {
    let mut shim = Shim::idle();
    std::io::Write::write_all(&mut shim.socket, &[0, 0, 0, 1, 99]).unwrap();
    assert!(matches!(
        shim.report(),
        Report::Failed {
            stage: Stage::Prepare,
            ..
        }
    ));
    assert!(!shim.child.wait().unwrap().success());
}

/// A driver that was killed before it could say what to do.
#[test]
fn no_task_at_all() {
    let mut shim = Shim::idle();
    shim.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(!shim.child.wait().unwrap().success());
}
