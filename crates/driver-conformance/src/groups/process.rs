//! Steps of the cases about processes inside: frames of a process up to its end, and a tree of processes that must go.

use driver_types::{
    ContainerStatus, ExecSpec, ProcessControl, ProcessExit, ProcessFrame, ProcessHandle, Signal, TerminalSize,
};

use super::inside::soon;
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure};
use crate::context::until;
use crate::expect;

/// The size that cases give a terminal once it is there.
pub(super) const RESIZED: TerminalSize = TerminalSize {
    rows: 41,
    columns: 111,
};

/// The line that the workload program prints when it has [`RESIZED`].
pub(super) const RESIZED_LINE: &str = "winsize=41 111";

/// The mark of the sleepers of a [`tree`].
const SLEEPER: &str = "M";

/// The mark of the process that stands above a [`tree`].
const MAIN: &str = "MAIN";

/// Commands that start sleepers of these kinds and mark the process itself: what [`tree_is_gone`] looks for.
pub(super) fn tree<'a>(kinds: &[&'a str]) -> Vec<&'a str> {
    let sleepers = kinds.iter().flat_map(|kind| ["tree", kind, SLEEPER, ","]);
    sleepers.chain(["mark", MAIN]).collect()
}

/// Waits until this many sleepers of a [`tree`] live in a container. Needs `exec`.
pub(super) async fn await_sleepers(cx: &Context, id: &str, wanted: u64) -> CaseResult {
    until(&format!("{wanted} live sleepers"), || async {
        let count = cx.exec_lines(id, ["count", SLEEPER]).await?.number("count")?;
        Ok((count == wanted).then_some(()))
    })
    .await
}

/// Waits until the process above a [`tree`] lives in a container, or until it does not. Needs `exec`.
pub(super) async fn await_main(cx: &Context, id: &str, wanted: bool) -> CaseResult {
    let what = format!(
        "{} process with {MAIN:?} in its argv",
        if wanted { "a" } else { "no" }
    );
    until(&what, || async {
        let processes = cx.exec_lines(id, ["ps"]).await?;
        let found = processes.values("proc").any(|process| process.contains(MAIN));
        Ok((found == wanted).then_some(()))
    })
    .await
}

/// Nothing of a [`tree`] lives any more, and the container goes on. Needs `exec`.
pub(super) async fn tree_is_gone(cx: &Context, id: &str) -> CaseResult {
    await_sleepers(cx, id, 0).await?;
    await_main(cx, id, false).await?;
    still_runs(cx, id).await
}

/// The container runs.
pub(super) async fn still_runs(cx: &Context, id: &str) -> CaseResult {
    expect::equal(
        "status of the container",
        cx.get(id).await?.status,
        ContainerStatus::Running,
    )
}

/// Runs a process whose last command prints `ready` and goes on for ever; returns when `ready` has come.
pub(super) async fn stream_ready(
    cx: &Context,
    id: &str,
    commands: &[&str],
) -> Result<ProcessHandle, CaseError> {
    let spec = cx.exec_spec([commands, &[",", "out", "ready", ",", "forever"]].concat());
    stream_until(cx, id, &spec, "ready").await
}

/// Runs a process; returns when it has written this text.
pub(super) async fn stream_until(
    cx: &Context,
    id: &str,
    spec: &ExecSpec,
    text: &str,
) -> Result<ProcessHandle, CaseError> {
    let mut handle = cx.driver().exec_stream(id, spec).await?;
    read_until(&mut handle, text).await?;
    Ok(handle)
}

/// What a process wrote, and how it ended.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) exit: Option<ProcessExit>,
}

impl Transcript {
    /// Stdout as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Adds a frame; one after the exit fails the case.
    fn add(&mut self, frame: ProcessFrame) -> CaseResult {
        if let Some(exit) = self.exit {
            return Err(Failure::new(format!("nothing after {exit:?}"), format!("{frame:?}")).into());
        }
        match frame {
            ProcessFrame::Stdout { data } => self.stdout.extend_from_slice(&data),
            ProcessFrame::Stderr { data } => self.stderr.extend_from_slice(&data),
            ProcessFrame::Exit(exit) => self.exit = Some(exit),
        }
        Ok(())
    }
}

/// Reads until stdout contains a text; returns what was read.
pub(super) async fn read_until(handle: &mut ProcessHandle, text: &str) -> Result<Transcript, CaseError> {
    let mut transcript = Transcript::default();
    while !transcript.text().contains(text) {
        let what = format!("{text:?} on stdout");
        match soon(&what, handle.next_frame()).await? {
            Some(frame) => transcript.add(frame?)?,
            None => return Err(Failure::new(what, format!("{transcript:?}")).into()),
        }
    }
    Ok(transcript)
}

/// Reads to the end, which is an exit frame.
pub(super) async fn read_to_end(handle: &mut ProcessHandle) -> Result<(Transcript, ProcessExit), CaseError> {
    let mut transcript = Transcript::default();
    while let Some(frame) = soon("the end of the process", handle.next_frame()).await? {
        transcript.add(frame?)?;
    }
    match transcript.exit {
        Some(exit) => Ok((transcript, exit)),
        None => Err(Failure::new("an exit frame at the end", format!("{transcript:?}")).into()),
    }
}

/// Reads to the end: the process wrote this and ended with this code.
pub(super) async fn wrote_and_exited(handle: &mut ProcessHandle, stdout: &str, code: i32) -> CaseResult {
    let (transcript, exit) = read_to_end(handle).await?;
    expect::equal(
        "stdout and exit code",
        (transcript.text().as_str(), exit.exit_code),
        (stdout, code),
    )
}

/// Reads to the end: SIGTERM ended the process, which had no handler for it.
pub(super) async fn ended_by_term(handle: &mut ProcessHandle) -> CaseResult {
    let (_, exit) = read_to_end(handle).await?;
    expect::equal(
        "exit code and signal",
        (exit.exit_code, exit.signal),
        (143, Some(Signal::TERM)),
    )
}

/// The process was killed, and not for a time-out.
pub(super) fn was_killed(exit_code: i32, timed_out: bool) -> CaseResult {
    expect::equal("exit code and time-out", (exit_code, timed_out), (137, false))
}

/// The waiters of one process, both at once, get this exit code.
pub(super) async fn two_waiters_get(control: &dyn ProcessControl, code: i32) -> CaseResult {
    let both = async { tokio::join!(control.wait(), control.wait()) };
    let (one, two) = soon("the end of the process", both).await?;
    expect::equal(
        "exit code for both waiters",
        (one?.exit_code, two?.exit_code),
        (code, code),
    )
}
