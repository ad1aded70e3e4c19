//! `run` and `exec` on a real engine: bytes, exit codes, signals, and nothing left.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ExitStatus};

use driver_types::{ContainerStatus, ExecResult, LogFrame};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::engine::Engine;
use crate::support::ran;

#[test]
fn run_passes_output_and_exit_code_through() {
    let Some(engine) = Engine::open("output") else {
        return;
    };
    let run = engine.run(&[
        "run",
        "--rm",
        &engine.image,
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
    ]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (7, "out\n", "err\n")
    );
    assert_eq!(engine.containers(), []);
}

#[test]
fn run_carries_bytes_exactly() {
    let Some(engine) = Engine::open("bytes") else {
        return;
    };
    let bytes: Vec<u8> = (0..1_000_003_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut command = engine.command();
    command
        .args(["run", "--rm", "-i", &engine.image, "cat"])
        .write_stdin(bytes.clone());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stdout == bytes,
        "{} bytes of {}",
        output.stdout.len(),
        bytes.len()
    );
    assert_eq!(engine.containers(), []);
}

#[test]
fn run_tells_what_could_not_be_run() {
    let Some(engine) = Engine::open("codes") else {
        return;
    };
    let code = |arguments: &[&str]| engine.run(&[&["--format", "json", "run", "--rm"], arguments].concat());
    let missing = code(&[&engine.image, "no-such-program"]);
    assert_eq!(
        (missing.code, missing.error().code()),
        (127, "CONTAINER_START_FAILED")
    );
    let not_executable = code(&[&engine.image, "/etc/passwd"]);
    assert_eq!(
        (not_executable.code, not_executable.error().code()),
        (126, "CONTAINER_START_FAILED")
    );
    let no_image = code(&["--pull", "never", "no-such-image:1"]);
    assert_eq!((no_image.code, no_image.error().code()), (125, "IMAGE_NOT_FOUND"));
    let refused = code(&["-m", "3m", &engine.image]);
    assert_eq!(
        (refused.code, refused.error().violation_list()[0].pointer.as_str()),
        (125, "/resources/memory")
    );
    let without_rm = engine.run(&["run", &engine.image, "no-such-program"]);
    assert_eq!(without_rm.code, 127);
    assert_eq!(engine.containers(), []);
}

/// Waits for a line on the child's stdout.
fn wait_for_line(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{}", rest(child.stderr.take().unwrap()));
    stdout
}

fn rest(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code()
}

#[test]
fn interrupting_run_ends_the_process_and_leaves_nothing() {
    let Some(engine) = Engine::open("interrupt") else {
        return;
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = engine.spawn(&[
            "run",
            "--rm",
            &engine.image,
            "sh",
            "-c",
            "echo ready; exec sleep 1000",
        ]);
        let _stdout = wait_for_line(&mut child);
        send(&child, signal);
        assert_eq!(code(child.wait().unwrap()), Some(128 + signal as i32));
        assert_eq!(engine.containers(), []);
    }
}

#[test]
fn a_signal_reaches_the_process_and_the_third_one_kills() {
    let Some(engine) = Engine::open("third") else {
        return;
    };
    let script = "trap 'echo caught' INT; echo ready; while true; do sleep 0.1; done";
    let mut child = engine.spawn(&["run", "--rm", &engine.image, "sh", "-c", script]);
    let mut stdout = wait_for_line(&mut child);
    for _ in 0..2 {
        send(&child, Signal::SIGINT);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "caught\n");
    }
    send(&child, Signal::SIGINT);
    assert_eq!(code(child.wait().unwrap()), Some(137));
    assert_eq!(engine.containers(), []);
}

#[test]
fn a_time_limit_kills_and_removes() {
    let Some(engine) = Engine::open("limit") else {
        return;
    };
    let run = engine.run(&[
        "run",
        "--rm",
        "--timeout",
        "1s",
        &engine.image,
        "sh",
        "-c",
        "echo before; sleep 1000",
    ]);
    assert_eq!((run.code, run.stdout.as_str()), (124, "before\n"), "{run:?}");
    assert_eq!(engine.containers(), []);
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    let Some(engine) = Engine::open("pipe") else {
        return;
    };
    let mut child = engine.spawn(&["run", "--rm", &engine.image, "yes", "ready"]);
    drop(wait_for_line(&mut child));
    let stderr = rest(child.stderr.take().unwrap());
    assert_eq!((code(child.wait().unwrap()), stderr.as_str()), (Some(141), ""));
    assert_eq!(engine.containers(), []);
}

#[test]
fn exec_carries_input_output_and_exit_code() {
    let Some(engine) = Engine::open("exec") else {
        return;
    };
    let name = engine.idle(&[]);
    let run = engine.run(&[
        "exec",
        "-e",
        "A=1",
        "-w",
        "/work",
        &name,
        "sh",
        "-c",
        "echo $A; pwd; echo err >&2; exit 3",
    ]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (3, "1\n/work\n", "err\n"),
        "{run:?}"
    );

    let echoed = ran(engine
        .command()
        .args(["exec", "-i", &name, "cat"])
        .write_stdin(&b"a\r\nb"[..]));
    assert_eq!((echoed.code, echoed.stdout.as_str()), (0, "a\r\nb"));

    assert_eq!(engine.run(&["exec", &name, "no-such-program"]).code, 127);
    assert_eq!(engine.run(&["exec", &name, "/etc/passwd"]).code, 126);
    assert_eq!(
        engine
            .run(&["exec", "--timeout", "500ms", &name, "sleep", "1000"])
            .code,
        124
    );

    let json = engine.run(&["--format", "json", "exec", &name, "sh", "-c", "echo out; exit 3"]);
    let result: ExecResult = json.json();
    assert_eq!(
        (json.code, result.exit_code, result.stdout.to_text().as_str()),
        (3, 3, "out\n")
    );

    let gone = engine.run(&["--format", "json", "exec", "no-such-container", "true"]);
    assert_eq!((gone.code, gone.error().code()), (125, "CONTAINER_NOT_FOUND"));
}

#[test]
fn interrupting_exec_ends_its_process_only() {
    let Some(engine) = Engine::open("execint") else {
        return;
    };
    let name = engine.idle(&[]);
    let script = "echo ready; exec sleep 777";
    let mut child = engine.spawn(&["exec", &name, "sh", "-c", script]);
    let _stdout = wait_for_line(&mut child);
    send(&child, Signal::SIGINT);
    assert_eq!(code(child.wait().unwrap()), Some(130));
    assert_eq!(engine.containers()[0].status, ContainerStatus::Running);
    let processes = engine.run(&[
        "exec",
        &name,
        "sh",
        "-c",
        "cat /proc/[0-9]*/cmdline | head -c 1000",
    ]);
    assert!(
        !processes.stdout.contains("777"),
        "the process lives on: {processes:?}"
    );
}

#[test]
fn a_container_through_its_life() {
    let Some(engine) = Engine::open("life") else {
        return;
    };
    let script = "echo one; echo two >&2; exec sleep 1000";
    let started = engine.run(&[
        "run",
        "-d",
        "--name",
        "cli-life",
        "-l",
        "k=v",
        &engine.image,
        "sh",
        "-c",
        script,
    ]);
    let id = started.stdout.trim();
    assert_eq!(started.code, 0, "{started:?}");

    let [container]: [_; 1] = engine.containers().try_into().unwrap();
    assert_eq!((container.id.as_str(), container.name.as_str()), (id, "cli-life"));
    assert_eq!(container.labels.get("k").map(String::as_str), Some("v"));
    let shown = engine.run(&["ps", "--filter", "label=k=v", "-q"]);
    assert_eq!(shown.stdout.trim(), &id[..12]);
    assert_eq!(engine.run(&["ps", "--filter", "label=k=w", "-q"]).stdout, "");

    for (command, status) in [
        ("pause", ContainerStatus::Paused),
        ("unpause", ContainerStatus::Running),
    ] {
        let done = engine.run(&[command, &id[..12]]);
        assert_eq!((done.code, done.stdout.trim()), (0, &id[..12]), "{done:?}");
        assert_eq!(engine.containers()[0].status, status);
    }

    let refused = engine.run(&["rm", "cli-life"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("force"), "{}", refused.stderr);

    let mut waiting = engine.spawn(&["wait", "cli-life"]);
    let mut following = engine.spawn(&["--format", "json", "logs", "-f", "cli-life"]);
    assert_eq!(engine.run(&["stop", "-t", "5", "cli-life"]).code, 0);
    assert_eq!(rest(waiting.stdout.take().unwrap()), "143\n");
    assert_eq!(code(waiting.wait().unwrap()), Some(0));
    let frames = rest(following.stdout.take().unwrap());
    let frames: Vec<LogFrame> = frames
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(code(following.wait().unwrap()), Some(0));
    let text: String = frames.iter().map(|frame| frame.data.to_text()).collect();
    assert!(text.contains("one\n") && text.contains("two\n"), "{frames:?}");

    let logs = engine.run(&["logs", "cli-life"]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("one\n", "two\n"));
    assert_eq!(engine.run(&["logs", "--tail", "0", "cli-life"]).stdout, "");

    let removed = engine.run(&["rm", "cli-life", "no-such-container"]);
    assert_eq!((removed.code, removed.stdout.as_str()), (1, "cli-life\n"));
    assert!(removed.stderr.contains("no-such-container"), "{removed:?}");
    assert_eq!(engine.run(&["rm", "-f", "cli-life"]).code, 0);
}

#[test]
fn attach_sees_output_and_gives_input() {
    let Some(engine) = Engine::open("attach") else {
        return;
    };
    let script = "read line; echo got $line; exit 5";
    let created = engine.run(&["create", "-i", &engine.image, "sh", "-c", script]);
    let id = created.stdout.trim();
    assert_eq!(engine.run(&["start", id]).code, 0);
    let mut child = engine.spawn(&["attach", id]);
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(rest(child.stdout.take().unwrap()), "got hello\n");
    assert_eq!(code(child.wait().unwrap()), Some(5));
}
