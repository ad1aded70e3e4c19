//! The handle of a process that `exec_stream` or `attach` gives.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use driver_errors::Result;
use futures_core::Stream;
use futures_util::StreamExt;

use crate::{BoxStream, ProcessExit, ProcessFrame, Signal, TerminalSize};

/// What a driver implements for a process. Callers use [`ProcessHandle`].
///
/// Dropping the control of an `exec_stream` kills the whole tree of the process, unless it was detached or has
/// ended. Dropping the control of an `attach` does nothing to the process.
#[async_trait]
pub trait ProcessControl: fmt::Debug + Send + Sync {
    /// Writes to stdin, waiting while the process does not read. After the end of stdin or of the process:
    /// `INVALID_STATE`.
    async fn write_stdin(&self, data: Bytes) -> Result<()>;

    /// Ends stdin. A repeat does nothing.
    async fn close_stdin(&self) -> Result<()>;

    /// Sets the size of the terminal. Without a terminal: a configuration error.
    async fn resize(&self, size: TerminalSize) -> Result<()>;

    /// Sends a signal to the process. After its end: `INVALID_STATE`.
    async fn signal(&self, signal: Signal) -> Result<()>;

    /// Kills the whole tree of the process (of the container, for `attach`) and returns when it is gone. A repeat, or
    /// after the end, does nothing.
    async fn kill(&self) -> Result<()>;

    /// Waits for the end. Any number of waiters; at once when it has ended. The frames need not be read for it.
    async fn wait(&self) -> Result<ProcessExit>;

    /// Lets the process live when the handle is dropped.
    fn detach(&self);
}

/// A running process: its frames as a stream, and control over it.
///
/// The stream ends after the [`ProcessFrame::Exit`]. A reader that does not read holds the process back once the
/// buffers are full; nothing is lost.
#[derive(Debug)]
pub struct ProcessHandle {
    frames: FrameStream,
    control: Box<dyn ProcessControl>,
}

/// The frames of a process.
pub struct FrameStream(BoxStream<ProcessFrame>);

impl fmt::Debug for FrameStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameStream")
    }
}

impl Stream for FrameStream {
    type Item = Result<ProcessFrame>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl ProcessHandle {
    /// A handle of a driver's making.
    pub fn new(frames: BoxStream<ProcessFrame>, control: impl ProcessControl + 'static) -> Self {
        Self {
            frames: FrameStream(frames),
            control: Box::new(control),
        }
    }

    /// The next frame; `None` after the exit.
    pub async fn next_frame(&mut self) -> Option<Result<ProcessFrame>> {
        self.frames.next().await
    }

    /// Separates reading from control, for two tasks. The process lives and dies with the control.
    pub fn split(self) -> (FrameStream, Box<dyn ProcessControl>) {
        (self.frames, self.control)
    }

    /// Lets the process live on, and drops the handle.
    pub fn detach(self) {
        self.control.detach();
    }
}

impl std::ops::Deref for ProcessHandle {
    type Target = dyn ProcessControl;

    fn deref(&self) -> &Self::Target {
        &*self.control
    }
}
