//! The client and the guard program together, over one socket, without a container.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Child, Command};
use std::time::Instant;

use bytes::Bytes;
use driver_exec_guard::client::{self, Session};
use driver_types::{ExecSpec, ProcessFrame, ProcessHandle, Signal};
use tokio::net::UnixStream;

/// Starts a process under a guard. What the connection's end means without a last word is a kill, as in a container.
async fn run(spec: &ExecSpec) -> (Child, ProcessHandle) {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    let guard = Command::new(env!("CARGO_BIN_EXE_guard"))
        .args(client::arguments(spec))
        .arg("--")
        .args(&spec.command)
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut connection = UnixStream::from_std(ours).unwrap();
    let decoder = client::greet(&mut connection).await.unwrap();
    let session = Session::new(connection, decoder);
    let handle = client::serve(session, "box", spec, async |_| Ok(client::killed())).await;
    (guard, handle)
}

fn shell(script: &str) -> ExecSpec {
    ExecSpec::new(["/bin/sh", "-c", script])
}

/// Waits for the guard without holding up the client.
async fn end_of(mut guard: Child) -> Option<i32> {
    let waited = tokio::task::spawn_blocking(move || guard.wait()).await;
    waited.unwrap().unwrap().code()
}

#[tokio::test]
async fn more_than_all_windows_goes_through_both_ways() {
    let data = Bytes::from((0..3_000_000_u32).map(|byte| byte as u8).collect::<Vec<_>>());
    let spec = ExecSpec {
        stdin: Some(data.clone().into()),
        ..ExecSpec::new(["cat"])
    };
    let (guard, handle) = run(&spec).await;
    let result = client::collect(handle, &spec.clone().max_output_bytes(4_000_000), Instant::now()).await;
    let result = result.unwrap();
    assert_eq!((result.exit_code, result.stdout_truncated), (0, false));
    assert!(result.stdout.0 == data, "what came back is not what was sent");
    assert_eq!(end_of(guard).await, Some(0));
}

#[tokio::test]
async fn a_time_out_is_a_result() {
    let spec = shell("echo begun; exec sleep 1000").timeout_ms(200);
    let (guard, handle) = run(&spec).await;
    let result = client::collect(handle, &spec, Instant::now()).await.unwrap();
    assert!(result.timed_out);
    assert_eq!((result.exit_code, result.signal), (143, Some(Signal::TERM)));
    assert_eq!(end_of(guard).await, Some(143));
}

#[tokio::test]
async fn a_conversation_and_a_kill() {
    let spec = ExecSpec {
        attach_stdin: true,
        ..shell("trap 'echo heard' USR1; while :; do read line; echo \"[$line]\"; done")
    };
    let (guard, mut handle) = run(&spec).await;
    handle.write_stdin(Bytes::from("one\n")).await.unwrap();
    until(&mut handle, "[one]\n").await;
    handle.signal(Signal::USR1).await.unwrap();
    until(&mut handle, "heard\n").await;
    handle.kill().await.unwrap();
    assert_eq!(handle.wait().await.unwrap().signal, Some(Signal::KILL));
    assert_eq!(end_of(guard).await, Some(137));
}

#[tokio::test]
async fn a_dropped_handle_ends_the_process_and_a_detached_one_does_not() {
    let (guard, handle) = run(&shell("sleep 1000")).await;
    drop(handle);
    assert_eq!(end_of(guard).await, Some(143));
    // Ends by itself, when this test closes its end of the pipe.
    let (pipe, ours) = std::io::pipe().unwrap();
    let pipe_path = format!("/proc/{}/fd/{}", std::process::id(), pipe.as_raw_fd());
    let spec = shell(&format!("read line < {pipe_path}; exit 9"));
    let (guard, handle) = run(&spec).await;
    handle.detach();
    drop(ours);
    assert_eq!(end_of(guard).await, Some(9));
}

#[tokio::test]
async fn a_killed_guard_is_a_killed_process() {
    // Its stdin ends with the guard, so that nothing is left behind.
    let spec = ExecSpec {
        attach_stdin: true,
        ..ExecSpec::new(["cat"])
    };
    let (mut guard, handle) = run(&spec).await;
    guard.kill().unwrap();
    let exit = handle.wait().await.unwrap();
    assert_eq!((exit.exit_code, exit.signal), (137, Some(Signal::KILL)));
    guard.wait().unwrap();
}

/// Reads frames until this is in the output.
async fn until(handle: &mut ProcessHandle, wanted: &str) {
    let mut text = String::new();
    while !text.contains(wanted) {
        match handle.next_frame().await {
            Some(Ok(ProcessFrame::Stdout { data })) => text.push_str(&data.to_text()),
            other => panic!("{other:?} instead of output with {wanted:?}"),
        }
    }
}
