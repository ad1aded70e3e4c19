//! Runs of containers by the shim: the program, its end, its streams.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, skipped};
use driver_local_shim::Stage;
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
    assert!(
        ended.journal.starts_with("{\"started\":{\"run\":0,\"initPid\":"),
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
