//! Steps that cases of several groups share: looking into containers, and reading from streams with a deadline.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use driver_types::{BoxStream, ProcessExit, ProcessFrame, ProcessHandle};
use futures_util::StreamExt;

use crate::Context;
use crate::case::{CaseError, CaseResult, Failure};
use crate::context::until;
use crate::fnv::fnv1a64;

/// How long something that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// No commands: the workload program does nothing.
pub(super) const NOTHING: [&str; 0] = [];

/// A running container with the default config that does nothing; returns its id.
pub(super) async fn idle(cx: &Context) -> Result<String, CaseError> {
    Ok(cx.run(&cx.config(["forever"])).await?.id)
}

/// What the future gives, within 30 seconds.
pub(super) async fn soon<T>(what: impl Display, future: impl Future<Output = T>) -> Result<T, CaseError> {
    let late = |_| Failure::new(what.to_string(), format!("not within {} s", PATIENCE.as_secs())).into();
    tokio::time::timeout(PATIENCE, future).await.map_err(late)
}

/// The next item of a stream, within 30 seconds; its end fails the case.
pub(super) async fn next<T>(what: impl Display, stream: &mut BoxStream<T>) -> Result<T, CaseError> {
    match soon(&what, stream.next()).await? {
        Some(item) => Ok(item?),
        None => Err(Failure::new(what.to_string(), "the end of the stream").into()),
    }
}

/// The stream ends within 30 seconds; items before its end are thrown away.
pub(super) async fn ends<T>(what: impl Display, stream: &mut BoxStream<T>) -> CaseResult {
    soon(&what, async {
        while let Some(item) = stream.next().await {
            item?;
        }
        Ok(())
    })
    .await?
}

/// Waits until this many sleepers with the mark live in a container. Needs `exec`.
pub(super) async fn await_sleepers(cx: &Context, id: &str, mark: &str, wanted: u64) -> CaseResult {
    until(&format!("{wanted} live processes marked {mark}"), || async {
        let count = cx.exec_lines(id, ["count", mark]).await?.number("count")?;
        Ok((count == wanted).then_some(()))
    })
    .await
}

/// Waits until a process with this word in its argv lives in a container, or until none does. Needs `exec`.
pub(super) async fn await_process(cx: &Context, id: &str, word: &str, wanted: bool) -> CaseResult {
    let what = format!(
        "{} process with {word:?} in its argv",
        if wanted { "a" } else { "no" }
    );
    until(&what, || async {
        let processes = cx.exec_lines(id, ["ps"]).await?;
        let found = processes.values("proc").any(|process| process.contains(word));
        Ok((found == wanted).then_some(()))
    })
    .await
}

/// Bytes as the commands `size` and `stdin` of the workload program tell them: length and FNV-1a.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    format!("{} {:016x}", bytes.len(), fnv1a64(bytes))
}

/// Bytes of every value, many times over, in no short period.
pub(super) fn binary(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| ((index * 7) ^ (index >> 8)) as u8)
        .collect()
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
    pub(super) fn add(&mut self, frame: ProcessFrame) -> CaseResult {
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
