//! The program that gives a container its network: how long it lives, and what the container cannot reach. The program is a
//! shell here, which makes no network.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::lchown;
use std::path::Path;

use common::{Place, Shim, lacks_busybox, until};
use driver_local_shim::{
    IdMap, NetworkHelper, NetworkNamespace, Report, RunTask, Stage, Task, UserNamespace,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Who runs the shim: the caller, or for root `nobody`.
fn user() -> u32 {
    let own = nix::unistd::geteuid();
    if own.is_root() { 65534 } else { own.as_raw() }
}

fn own(path: &Path) {
    lchown(path, Some(user()), Some(user())).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path)
            .unwrap()
            .flatten()
            .for_each(|entry| own(&entry.path()));
    }
}

fn place() -> Place {
    let place = Place::new();
    own(place.temp.path());
    place
}

/// A container whose helper is this script. The script's argument is the file in which it writes its pid.
fn task(place: &Place, helper: &str, script: &str) -> RunTask {
    let map = |outside| IdMap {
        inside: 0,
        outside,
        count: 1,
    };
    let mut task = place.script(script);
    task.sandbox.user = Some(UserNamespace {
        uids: vec![map(user())],
        gids: vec![map(user())],
        by_helpers: false,
    });
    task.sandbox.network = NetworkNamespace::Helper(NetworkHelper {
        program: "/bin/busybox".to_owned(),
        arguments: ["sh", "-c", helper, "{pid}", &place.text("container/helper-pid")]
            .map(str::to_owned)
            .to_vec(),
        unreachable: vec![
            (Ipv4Addr::new(169, 254, 0, 0), 16),
            (Ipv4Addr::new(192, 0, 2, 1), 32),
        ],
    });
    task
}

const STAYS: &str = "echo $$ > $1; echo up >&0; exec sleep 1000";

fn started(task: RunTask) -> (Shim, i32) {
    let mut shim = Shim::idle_as(user()).with(&Task::Run(Box::new(task)));
    match shim.report() {
        Report::Started { init_pid, .. } => (shim, init_pid),
        other => panic!("{other:?}"),
    }
}

fn helper_of(place: &Place) -> i32 {
    let pid = fs::read_to_string(place.directory().join("helper-pid")).unwrap();
    fs::remove_file(place.directory().join("helper-pid")).unwrap();
    pid.trim().parse().unwrap()
}

fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn it_ends_with_the_container_and_before_the_end_is_told() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    // Flags 1, 4 and 0x200: up, a host, refused. The numbers are those of the addresses, in the order of the network.
    let script = "grep -c -E '^[*][[:space:]]+(0000FEA9|010200C0)[[:space:]]+00000000[[:space:]]+020[15]' /proc/net/route; \
                  ip addr show lo | grep -c LOOPBACK,UP";
    let (shim, _) = started(task(&place, STAYS, script));
    let helper = helper_of(&place);
    let ended = place.end(shim);
    assert_eq!(ended.out, "2\n1\n", "{ended:?}");
    assert!(is_gone(helper));
    // Whoever waits for it takes it away.
    assert!(!place.directory().join("helper.lock").exists());
    place.nothing_left();
}

#[test]
fn it_goes_on_when_the_shim_is_killed_and_still_ends_with_the_container() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let (mut shim, init) = started(task(&place, STAYS, "sleep 1000"));
    let helper = helper_of(&place);
    shim.child.kill().unwrap();
    shim.child.wait().unwrap();
    assert!(!is_gone(helper), "it lives as long as the container");
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    until("the end of the helper", || is_gone(helper));
}

#[test]
fn a_helper_whose_guard_is_killed_does_not_stay() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let (_shim, init) = started(task(&place, STAYS, "sleep 1000"));
    let helper = helper_of(&place);
    let stat = fs::read_to_string(format!("/proc/{helper}/stat")).unwrap();
    let guard = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    kill(Pid::from_raw(guard.parse().unwrap()), Signal::SIGKILL).unwrap();
    until("the end of the helper", || is_gone(helper));
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
}

#[test]
fn what_it_says_when_it_gives_no_network_is_the_failure() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let task = task(
        &place,
        "echo no interface >&2; echo leads out >&2; exit 1",
        "true",
    );
    let mut shim = Shim::idle_as(user()).with(&Task::Run(Box::new(task)));
    let message = match shim.report() {
        Report::Failed {
            stage: Stage::Namespaces,
            message,
            ..
        } => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message, "/bin/busybox gives no network: no interface; leads out");
    shim.child.wait().unwrap();
    place.nothing_left();
}

/// Whoever can make it talk must not fill the memory of the host by that.
#[test]
fn what_it_says_later_is_kept_nowhere() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let talks = "echo $$ > $1; echo up >&0; until [ -e $1-go ]; do usleep 1000; done; \
                 for i in $(seq 2000); do echo words >&2; done; : > $1-done; exec sleep 1000";
    let (_shim, init) = started(task(&place, talks, "sleep 1000"));
    let helper = helper_of(&place);
    fs::write(place.directory().join("helper-pid-go"), "").unwrap();
    let done = place.directory().join("helper-pid-done");
    until("the end of its words", || done.exists());
    assert!(!is_gone(helper));
    let kept = fs::metadata(format!("/proc/{helper}/fd/2")).unwrap();
    assert_eq!(kept.len(), 0);
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    until("the end of the helper", || is_gone(helper));
}
