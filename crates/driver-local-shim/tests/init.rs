//! Pid 1 of a container with an init.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, Shim, kill, skipped, until};
use rstest::rstest;

#[test]
fn orphans_are_reaped() {
    if skipped() {
        return;
    }
    let place = Place::new();
    // The orphans end before their new parent is asked.
    let script =
        "for i in 1 2 3; do (sleep 0.05 &) ; done; sleep 0.3; ps -o pid,stat | grep -c Z; ps -o pid | wc -l";
    let ended = place.run(place.script(script));
    assert!(ended.out.starts_with("0\n"), "{ended:?}");
}

/// All signals with a name, and real-time ones, reach the main process, also those that would end it.
#[rstest]
#[case(true)]
#[case(false)]
fn signals_are_passed_on(#[case] init: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let signals = [
        "HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH", "URG", "ALRM", "PIPE", "TSTP", "CONT", "35",
    ];
    let numbers = [1, 2, 3, 10, 12, 15, 28, 23, 14, 13, 20, 18, 35];
    let traps: String = signals
        .iter()
        .map(|name| format!("trap 'echo {name}' {name}; "))
        .collect();
    let mut task = place.script(&format!("{traps} echo ready; while :; do sleep 0.01; done"));
    task.init = init;
    let (shim, pid) = Shim::start(task);
    until("the traps", || place.log().0.contains("ready"));
    for (name, number) in signals.iter().zip(numbers) {
        kill(pid, number);
        until(name, || place.log().0.lines().any(|line| line == *name));
    }
    kill(pid, 9);
    place.end(shim).signal(9);
}

/// A main process that does not handle a signal is ended by it under an init, as it would be outside.
#[test]
fn a_signal_ends_what_does_not_handle_it() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let (shim, pid) = Shim::start(place.task(&["sleep", "1000"]));
    kill(pid, 15);
    place.end(shim).signal(15);
}

/// What pid 1 is cannot be looked into or reached by the processes that it serves.
#[rstest]
#[case("0")]
#[case("1000")]
fn it_is_closed_to_its_container(#[case] user: &str) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let script = "for f in /proc/1/fd/*; do readlink $f; echo x > $f; done 2> /dev/null; \
                  cat /proc/1/environ; readlink /proc/1/exe; ls /proc/1/root/; \
                  grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/1/status";
    let mut task = place.script(script);
    task.process.rights.identity.user = user.to_owned();
    task.process.rights.capabilities = 1 << 5;
    let ended = place.run(task);
    let expected = format!(
        "Uid:\t{user}\t{user}\t{user}\t{user}\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
         CapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"
    );
    assert_eq!(ended.out, expected);
    assert_eq!(ended.err.matches("Permission denied").count(), 2, "{ended:?}");
}

#[test]
fn without_one_the_program_is_pid_1() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("echo $$");
    task.init = false;
    assert_eq!(place.run(task).out, "1\n");
    let place = Place::new();
    assert_eq!(place.run(place.script("echo $$")).out, "2\n");
}

/// Pid 1 waits until what is in the pipes is taken; not for those who write on, who may be of a user that it cannot end.
#[rstest]
#[case("yes &")]
#[case("busybox start-stop-daemon -S -c ada -x /bin/yes &")]
fn a_flood_holds_nothing_up(#[case] flood: &str) {
    const SETGID_AND_SETUID: u64 = 1 << 6 | 1 << 7;
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script(&format!("{flood} sleep 0.1; exit 3"));
    task.process.rights.capabilities = SETGID_AND_SETUID;
    let ended = place.run(task);
    ended.code(3);
    assert!(
        ended.out.len() > 1 << 20,
        "{} bytes, {}",
        ended.out.len(),
        ended.err
    );
    place.nothing_left();
}

/// What the program leaves behind ends with it, and holds nothing up.
#[rstest]
#[case(true)]
#[case(false)]
fn daemons_end_with_the_program(#[case] init: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("setsid sleep 1000 & setsid yes > /dev/null & echo done");
    task.init = init;
    let ended = place.run(task);
    assert_eq!(ended.out, "done\n");
    ended.code(0);
    place.nothing_left();
}
