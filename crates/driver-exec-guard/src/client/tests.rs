//! The client against a guard that the test plays.
#![allow(clippy::unwrap_used)]

use std::io;
use std::time::Instant;

use bytes::Bytes;
use driver_types::{ExecSpec, ProcessExit, ProcessFrame, ProcessHandle, Result, Signal, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Refusal, Session, collect, greet, killed, serve};
use crate::{Command, Decoder, Frame, MAX_PAYLOAD, Report, VERSION, WINDOW};

/// The guard's end of a connection.
struct Peer {
    socket: UnixStream,
    decoder: Decoder,
}

impl Peer {
    async fn say(&mut self, reports: &[Report]) {
        let mut wire = Vec::new();
        reports.iter().for_each(|report| report.encode(&mut wire));
        self.socket.write_all(&wire).await.unwrap();
    }

    /// The next command; `None` when the driver is gone.
    async fn hear(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.decoder.decode().unwrap() {
                return Some(command);
            }
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes).await.unwrap() {
                0 => return None,
                count => self.decoder.push(&bytes[..count]),
            }
        }
    }
}

fn connect() -> (Peer, UnixStream) {
    let (socket, ours) = UnixStream::pair().unwrap();
    let decoder = Decoder::default();
    (Peer { socket, decoder }, ours)
}

fn spec() -> ExecSpec {
    ExecSpec::new(["program"])
}

/// A process that runs under the peer. A connection that ends early was that of a killed container.
async fn run(spec: &ExecSpec) -> (Peer, ProcessHandle) {
    run_with(spec, |_| Ok(killed())).await
}

async fn run_with(
    spec: &ExecSpec,
    last_word: impl FnOnce(Option<io::Error>) -> Result<ProcessExit> + Send + 'static,
) -> (Peer, ProcessHandle) {
    let (mut peer, mut ours) = connect();
    peer.say(&[Report::Hello(VERSION), Report::Started]).await;
    let decoder = greet(&mut ours).await.unwrap();
    let session = Session::new(ours, decoder);
    let handle = serve(session, "box", spec, async move |cause| last_word(cause)).await;
    (peer, handle)
}

fn exited(code: u8) -> Report {
    Report::Exited {
        code,
        signal: 0,
        timed_out: false,
    }
}

#[tokio::test]
async fn frames_come_in_order_and_are_paid_for_when_they_are_read() {
    let (mut peer, mut handle) = run(&spec()).await;
    peer.say(&[
        Report::Stdout(b"out".to_vec()),
        Report::Stderr(b"error".to_vec()),
        exited(3),
        Report::End,
    ])
    .await;
    assert_eq!(
        handle.wait().await.unwrap().exit_code,
        3,
        "before any frame is read"
    );
    let mut frames = Vec::new();
    while let Some(frame) = handle.next_frame().await {
        frames.push(frame.unwrap());
    }
    let stdout = ProcessFrame::Stdout {
        data: Bytes::from("out").into(),
    };
    let stderr = ProcessFrame::Stderr {
        data: Bytes::from("error").into(),
    };
    assert_eq!(frames[..2], [stdout, stderr]);
    assert!(matches!(&frames[2..], [ProcessFrame::Exit(exit)] if exit.exit_code == 3));
}

#[tokio::test]
async fn reading_grants_as_much_again() {
    let (mut peer, mut handle) = run(&spec()).await;
    peer.say(&[Report::Stdout(vec![b'x'; 700])]).await;
    handle.next_frame().await.unwrap().unwrap();
    assert_eq!(peer.hear().await, Some(Command::Credit(700)));
}

#[tokio::test]
async fn stdin_of_the_spec_comes_first_and_waits_for_room() {
    let data = vec![7_u8; WINDOW + 10];
    let (mut peer, handle) = run(&ExecSpec {
        stdin: Some(Bytes::from(data.clone()).into()),
        attach_stdin: true,
        ..spec()
    })
    .await;
    let mut received = Vec::new();
    while received.len() < WINDOW {
        match peer.hear().await {
            Some(Command::Stdin(data)) => received.extend(data),
            other => panic!("{other:?} instead of stdin"),
        }
    }
    assert_eq!(received.len(), WINDOW, "more than the window was sent");
    let write = async { handle.write_stdin(Bytes::from("more")).await.unwrap() };
    let taken = async {
        peer.say(&[Report::StdinTaken(MAX_PAYLOAD as u32)]).await;
        let rest = peer.hear().await;
        (rest, peer.hear().await)
    };
    let ((), (rest, more)) = tokio::join!(write, taken);
    assert_eq!(rest, Some(Command::Stdin(vec![7; 10])));
    assert_eq!(more, Some(Command::Stdin(b"more".to_vec())));
}

#[tokio::test]
async fn stdin_ends_once_and_then_refuses() {
    let (mut peer, handle) = run(&ExecSpec {
        attach_stdin: true,
        ..spec()
    })
    .await;
    handle.close_stdin().await.unwrap();
    handle.close_stdin().await.unwrap();
    handle.signal(Signal::USR1).await.unwrap();
    assert_eq!(peer.hear().await, Some(Command::CloseStdin));
    assert_eq!(peer.hear().await, Some(Command::Signal(10)));
    let refused = handle.write_stdin(Bytes::from("late")).await.unwrap_err();
    assert_eq!(refused.code(), "INVALID_STATE");
}

#[tokio::test]
async fn a_size_is_for_terminals() {
    let size = TerminalSize { rows: 3, columns: 4 };
    let (mut peer, handle) = run(&ExecSpec { tty: true, ..spec() }).await;
    handle.resize(size).await.unwrap();
    // Nothing is to be written to its stdin.
    let resized = Command::Resize { rows: 3, columns: 4 };
    let heard = [peer.hear().await, peer.hear().await];
    assert!(heard.contains(&Some(resized)), "{heard:?}");
    let (_peer, handle) = run(&spec()).await;
    assert!(handle.resize(size).await.is_err());
    let real_time = Signal::from_number(40).unwrap();
    assert!(handle.signal(real_time).await.is_err());
}

#[tokio::test]
async fn dropping_closes_the_connection_after_a_detach() {
    let (mut peer, handle) = run(&spec()).await;
    handle.detach();
    assert_eq!(peer.hear().await, Some(Command::Detach));
    assert_eq!(peer.hear().await, None);
    let (mut peer, handle) = run(&spec()).await;
    drop(handle);
    assert_eq!(peer.hear().await, None);
}

#[tokio::test]
async fn a_kill_waits_for_the_answer() {
    for whole in [true, false] {
        let (mut peer, handle) = run(&spec()).await;
        let guard = async {
            assert_eq!(peer.hear().await, Some(Command::Kill));
            peer.say(&[exited(137), Report::Killed(whole), Report::End]).await;
        };
        let (killed, ()) = tokio::join!(handle.kill(), guard);
        assert_eq!(killed.is_ok(), whole);
    }
}

#[tokio::test]
async fn the_end_of_the_container_is_the_end_of_a_kill_and_of_a_wait() {
    let (mut peer, handle) = run(&spec()).await;
    let guard = async {
        assert_eq!(peer.hear().await, Some(Command::Kill));
        drop(peer);
    };
    let (killed, ()) = tokio::join!(handle.kill(), guard);
    killed.unwrap();
    let exit = handle.wait().await.unwrap();
    assert_eq!((exit.exit_code, exit.signal), (137, Some(Signal::KILL)));
    let ended = handle.write_stdin(Bytes::from("late")).await.unwrap_err();
    assert_eq!(ended.code(), "INVALID_STATE");
}

#[tokio::test]
async fn a_known_exit_needs_no_last_word() {
    let (mut peer, mut handle) = run_with(&spec(), |_| panic!("it was asked")).await;
    peer.say(&[exited(5)]).await;
    drop(peer);
    let frame = handle.next_frame().await.unwrap().unwrap();
    assert!(matches!(frame, ProcessFrame::Exit(exit) if exit.exit_code == 5));
    assert!(handle.next_frame().await.is_none());
}

#[tokio::test]
async fn what_the_last_word_says_is_told_to_all() {
    let lost = |cause: Option<io::Error>| {
        assert_eq!(cause.unwrap().kind(), io::ErrorKind::InvalidData);
        Err(driver_types::DriverError::network("lost"))
    };
    let (mut peer, mut handle) = run_with(&spec(), lost).await;
    peer.socket.write_all(b"nonsense of a length").await.unwrap();
    assert_eq!(handle.wait().await.unwrap_err().code(), "NETWORK_ERROR");
    assert!(handle.kill().await.is_ok(), "nothing is left to kill");
    assert!(handle.next_frame().await.unwrap().is_err());
    assert!(handle.next_frame().await.is_none());
}

#[tokio::test]
async fn collected_output_is_capped_each() {
    let spec = spec().max_output_bytes(4);
    let (mut peer, handle) = run(&spec).await;
    peer.say(&[
        Report::Stdout(b"abcdef".to_vec()),
        Report::Stderr(b"abcd".to_vec()),
        exited(0),
        Report::End,
    ])
    .await;
    let result = collect(handle, &spec, Instant::now()).await.unwrap();
    assert_eq!(
        (result.stdout.to_text(), result.stderr.to_text()),
        ("abcd".into(), "abcd".into())
    );
    assert_eq!((result.stdout_truncated, result.stderr_truncated), (true, false));
}

/// The program may have run.
#[tokio::test]
async fn a_guard_that_is_killed_after_its_first_word_is_a_session_that_ends() {
    let (mut peer, mut ours) = connect();
    peer.say(&[Report::Hello(VERSION)]).await;
    drop(peer);
    let decoder = greet(&mut ours).await.unwrap();
    let (session, spec) = (Session::new(ours, decoder), spec());
    let last_word = async |cause: Option<std::io::Error>| {
        assert!(cause.is_none());
        Ok(killed())
    };
    let handle = serve(session, "box", &spec, last_word).await;
    let result = collect(handle, &spec, Instant::now()).await.unwrap();
    assert_eq!((result.exit_code, result.timed_out), (137, false));
}

#[tokio::test]
async fn refusals() {
    let refusal = async |bytes: Vec<u8>| {
        let (mut peer, mut ours) = connect();
        peer.socket.write_all(&bytes).await.unwrap();
        drop(peer);
        greet(&mut ours).await.unwrap_err()
    };
    let wire = |reports: &[Report]| {
        let mut wire = Vec::new();
        reports.iter().for_each(|report| report.encode(&mut wire));
        wire
    };
    let failed = Report::StartFailed("no room".into());
    let refused = refusal(wire(&[Report::Hello(VERSION), failed])).await;
    assert!(matches!(refused, Refusal::StartFailed(message) if message == "no room"));
    let refused = refusal(wire(&[Report::Hello(VERSION + 1)])).await;
    assert!(matches!(refused, Refusal::OtherVersion));
    let refused = refusal(wire(&[Report::Started])).await;
    assert!(matches!(refused, Refusal::OtherVersion));
    let refused = refusal(b"ab".to_vec()).await;
    assert!(matches!(refused, Refusal::NoGuard { said, ended: true } if said == b"ab"));
    let refused = refusal(b"no guard is here".to_vec()).await;
    assert!(matches!(refused, Refusal::NoGuard { said, ended: false } if said == b"no guard is here"));
}
