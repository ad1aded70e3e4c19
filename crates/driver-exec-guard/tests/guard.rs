//! The guard program on this machine, without a container: its protocol, and that no process survives it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};
use std::time::{Duration, Instant};

use driver_exec_guard::{Command, Decoder, Frame, Report, VERSION, WINDOW};

/// A guard and our ends of its streams. Reading blocks; a guard that hangs is ended by the test runner's time-out.
struct Guard {
    process: Child,
    control: Option<ChildStdin>,
    reports: ChildStdout,
    decoder: Decoder,
}

impl Guard {
    fn start(options: &[&str], argv: &[&str]) -> Self {
        let mut process = Program::new(env!("CARGO_BIN_EXE_guard"))
            .args(options)
            .arg("--")
            .args(argv)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut guard = Self {
            control: process.stdin.take(),
            reports: process.stdout.take().unwrap(),
            process,
            decoder: Decoder::default(),
        };
        assert_eq!(guard.next(), Some(Report::Hello(VERSION)));
        guard
    }

    fn shell(options: &[&str], script: &str) -> Self {
        Self::start(options, &["/bin/sh", "-c", script])
    }

    fn send(&mut self, command: Command) {
        let mut wire = Vec::new();
        command.encode(&mut wire);
        self.control.as_mut().unwrap().write_all(&wire).unwrap();
    }

    fn next(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.decoder.decode().unwrap() {
                return Some(report);
            }
            let mut bytes = [0; 4096];
            match self.reports.read(&mut bytes).unwrap() {
                0 => return None,
                count => self.decoder.push(&bytes[..count]),
            }
        }
    }

    /// Reads until `wanted` is in the output.
    fn output_until(&mut self, wanted: &str) -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            match self.next() {
                Some(Report::Stdout(data)) => text.push_str(&String::from_utf8_lossy(&data)),
                Some(Report::Started) => {}
                other => panic!("{other:?} instead of output with {wanted:?}, after {text:?}"),
            }
        }
        text
    }

    /// Everything up to the end: stdout, stderr and the other reports.
    fn finish(&mut self) -> (Vec<u8>, Vec<u8>, Vec<Report>) {
        let (mut out, mut err, mut others) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(report) = self.next() {
            match report {
                Report::Stdout(data) => {
                    self.grant(data.len());
                    out.extend(data);
                }
                Report::Stderr(data) => {
                    self.grant(data.len());
                    err.extend(data);
                }
                Report::End => {
                    others.push(Report::End);
                    break;
                }
                other => others.push(other),
            }
        }
        (out, err, others)
    }

    /// A guard that has ended needs no credit any more.
    fn grant(&mut self, bytes: usize) {
        let mut wire = Vec::new();
        Command::Credit(bytes as u32).encode(&mut wire);
        if let Some(control) = &mut self.control {
            let _ = control.write_all(&wire);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.control = None;
        let _ = self.process.wait();
    }
}

fn exited(code: u8, signal: u8, timed_out: bool) -> Report {
    Report::Exited {
        code,
        signal,
        timed_out,
    }
}

/// A number that marks the processes of one test: they sleep for it.
fn mark(number: u32) -> String {
    format!("{}{number}", 100_000 + std::process::id())
}

/// The processes that sleep for `mark` seconds.
fn sleepers(mark: &str) -> Vec<String> {
    let wanted = format!("sleep\0{mark}\0");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let found = entries.filter(|entry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|command| command == wanted.as_bytes())
    });
    found
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn alive(mark: &str) -> usize {
    sleepers(mark).len()
}

/// Ends what a test left running on purpose.
fn end_sleepers(mark: &str) {
    Program::new("kill").args(sleepers(mark)).status().unwrap();
}

/// Waits until so many of them run; fails after a time that only a broken guard needs.
fn await_alive(mark: &str, count: usize) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while alive(mark) != count {
        assert!(
            Instant::now() < give_up,
            "{} instead of {count} processes run",
            alive(mark)
        );
        std::thread::yield_now();
    }
}

/// A tree that is hard to end: a daemon in a session of its own, TERM ignored, a grandchild.
fn stubborn(mark: &str) -> String {
    format!(
        "trap '' TERM; setsid sleep {mark} & (sleep {mark} & sleep {mark}) & echo ready; while :; do sleep {mark}; done"
    )
}

#[test]
fn streams_and_code_come_back() {
    let mut guard = Guard::shell(&[], "echo out; echo err >&2; exit 7");
    let (out, err, others) = guard.finish();
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (b"out\n".as_slice(), b"err\n".as_slice())
    );
    assert_eq!(others, [Report::Started, exited(7, 0, false), Report::End]);
    assert_eq!(guard.process.wait().unwrap().code(), Some(7));
}

#[test]
fn a_signal_is_told_from_a_code() {
    let (_, _, others) = Guard::shell(&[], "kill -9 $$").finish();
    assert_eq!(others[1], exited(137, 9, false));
    let (_, _, others) = Guard::shell(&[], "exit 137").finish();
    assert_eq!(others[1], exited(137, 0, false));
}

#[test]
fn missing_is_127_and_not_executable_is_126() {
    let (_, err, others) = Guard::start(&[], &["/no/such/program"]).finish();
    assert_eq!(others[1], exited(127, 0, false));
    assert!(String::from_utf8_lossy(&err).starts_with("/no/such/program: "));
    let (_, _, others) = Guard::start(&[], &["/etc/passwd"]).finish();
    assert_eq!(others[1], exited(126, 0, false));
}

#[test]
fn stdin_is_forwarded_and_ended() {
    let mut guard = Guard::start(&["--stdin"], &["cat"]);
    guard.send(Command::Stdin(b"one ".to_vec()));
    guard.send(Command::Stdin(b"two".to_vec()));
    guard.send(Command::CloseStdin);
    let (out, _, others) = guard.finish();
    assert_eq!(out, b"one two");
    let taken: u32 = others
        .iter()
        .map(|report| {
            if let Report::StdinTaken(bytes) = report {
                *bytes
            } else {
                0
            }
        })
        .sum();
    assert_eq!(taken, 7);
    assert!(others.contains(&exited(0, 0, false)));
    let (out, _, _) = Guard::start(&[], &["cat"]).finish();
    assert_eq!(out, b"", "without --stdin it is empty");
}

#[test]
fn the_time_out_ends_the_whole_tree() {
    let mark = mark(1);
    let mut guard = Guard::shell(&["--timeout-ms", "300"], &stubborn(&mark));
    let (out, _, others) = guard.finish();
    assert_eq!(out, b"ready\n");
    assert_eq!(
        others,
        [
            Report::Started,
            exited(137, 9, true),
            Report::Killed(true),
            Report::End
        ]
    );
    await_alive(&mark, 0);
}

#[test]
fn a_lost_driver_ends_the_whole_tree() {
    let mark = mark(2);
    let mut guard = Guard::shell(&[], &stubborn(&mark));
    guard.output_until("ready");
    await_alive(&mark, 4);
    guard.control = None;
    guard.process.wait().unwrap();
    assert_eq!(alive(&mark), 0);
}

#[test]
fn kill_ends_the_whole_tree_at_once() {
    let mark = mark(3);
    let mut guard = Guard::shell(&[], &stubborn(&mark));
    guard.output_until("ready");
    guard.send(Command::Kill);
    let (_, _, others) = guard.finish();
    assert_eq!(others, [exited(137, 9, false), Report::Killed(true), Report::End]);
    assert_eq!(alive(&mark), 0);
}

#[test]
fn detached_lives_on_and_may_write() {
    let mark = mark(4);
    let script = format!("echo ready; read line; yes | head -c 1000000; exec sleep {mark}");
    let mut guard = Guard::shell(&["--stdin"], &script);
    guard.output_until("ready");
    guard.send(Command::Detach);
    guard.send(Command::Stdin(b"go\n".to_vec()));
    guard.control = None;
    await_alive(&mark, 1);
    end_sleepers(&mark);
    guard.process.wait().unwrap();
}

#[test]
fn unread_output_holds_back_but_hides_no_exit() {
    let mark = mark(6);
    // Fits in a pipe.
    let held_back = 60_000;
    let script = format!("head -c {} /dev/zero; exec sleep {mark}", WINDOW + held_back);
    let mut guard = Guard::shell(&[], &script);
    let mut seen = 0;
    while seen < WINDOW {
        if let Some(Report::Stdout(data)) = guard.next() {
            seen += data.len();
        }
    }
    assert_eq!(seen, WINDOW, "more than the credit was sent");
    await_alive(&mark, 1);
    guard.send(Command::Kill);
    assert_eq!(
        guard.next(),
        Some(exited(137, 9, false)),
        "the exit waits for nobody"
    );
    assert_eq!(guard.next(), Some(Report::Killed(true)));
    guard.send(Command::Credit(10_000_000));
    let (rest, _, others) = guard.finish();
    assert_eq!(rest.len(), held_back, "what was in the pipe is not lost");
    assert_eq!(others, [Report::End]);
}

#[test]
fn the_end_does_not_wait_for_what_was_left_behind() {
    let mark = mark(5);
    let mut guard = Guard::shell(&[], &format!("(yes & sleep {mark}; kill $!) & echo done"));
    let (out, _, others) = guard.finish();
    assert!(String::from_utf8_lossy(&out).contains("done"));
    assert!(others.contains(&exited(0, 0, false)));
    await_alive(&mark, 1);
    guard.control = None;
    assert_eq!(alive(&mark), 1, "a background process was ended with the exec");
    end_sleepers(&mark);
    guard.process.wait().unwrap();
}

#[test]
fn a_terminal_has_a_size_signals_and_an_end() {
    let mut guard = Guard::shell(
        &["--tty", "24x80"],
        "stty size; trap 'stty size; echo resized' WINCH; echo ready; while :; do read x; done",
    );
    assert!(guard.output_until("ready").contains("24 80\r\n"));
    guard.send(Command::Resize {
        rows: 30,
        columns: 99,
    });
    assert!(guard.output_until("resized").contains("30 99"));
    guard.send(Command::Stdin(vec![3]));
    let (_, _, others) = guard.finish();
    assert!(others.contains(&exited(130, 2, false)), "{others:?}");
    let mut guard = Guard::start(&["--tty", "24x80"], &["cat"]);
    guard.send(Command::Stdin(b"line\n".to_vec()));
    guard.send(Command::CloseStdin);
    let (out, _, others) = guard.finish();
    assert_eq!(out, b"line\r\nline\r\n");
    assert!(others.contains(&exited(0, 0, false)));
}

#[test]
fn the_program_inherits_nothing_of_the_guard() {
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd";
    let (out, _, _) = Guard::shell(&["--stdin"], script).finish();
    let plain = Program::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        String::from_utf8(plain.stdout).unwrap()
    );
}

#[test]
fn wrong_arguments_are_refused() {
    for arguments in [
        ["--what"].as_slice(),
        &["--tty", "axb", "--", "true"],
        &["--"],
        &["--timeout-ms", "x", "--", "true"],
    ] {
        let output = Program::new(env!("CARGO_BIN_EXE_guard"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("guard: "));
    }
}
