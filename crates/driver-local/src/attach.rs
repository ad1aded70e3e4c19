//! A handle on the main process of a container.
//!
//! Output comes from the log. Stdin is the shim's: each write asks it for the descriptor, so that no handle keeps stdin
//! open that another one has closed, and a handle that is dropped changes nothing.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use driver_types::{
    BoxStream, DriverError, ExitInfo, LogFrame, OutputStream, ProcessControl, ProcessExit, ProcessFrame,
    ProcessHandle, Result, Signal, TerminalSize, Violation,
};
use futures_util::{StreamExt, stream};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::core::blocking;
use crate::ready;

/// End of file as a terminal reads it.
const END_OF_TRANSMISSION: u8 = 4;

/// The main process of a container, as a handle needs it.
#[async_trait]
pub(crate) trait MainProcess: fmt::Debug + Send + Sync + 'static {
    /// Waits while the container is created.
    async fn started(&self) -> Result<()>;

    /// Whether it is there, running or frozen.
    fn is_alive(&self) -> Result<bool>;

    /// The writing end of its stdin, or its terminal; `None` once stdin was closed, and where it never was open.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE` where there is no process.
    fn stdin(&self) -> Result<Option<OwnedFd>>;

    /// Closes stdin, for all handles. A repeat does nothing.
    fn close_stdin(&self) -> Result<()>;

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE` in any status but running.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// How the run ends, or the next one of a container that is created.
    async fn wait(&self) -> Result<ExitInfo>;
}

/// A handle on a process, with what its log gets from now on. `frames` ends when the run has ended and all was read.
pub(crate) fn handle(
    id: &str,
    tty: bool,
    process: Arc<dyn MainProcess>,
    frames: BoxStream<LogFrame>,
) -> ProcessHandle {
    let exit = Arc::new(Exit::watch(Arc::clone(&process)));
    let control = AttachControl {
        id: id.to_owned(),
        tty,
        process,
        exit: Arc::clone(&exit),
        writing: Mutex::new(()),
    };
    ProcessHandle::new(process_frames(frames, exit), control)
}

fn process_frames(frames: BoxStream<LogFrame>, exit: Arc<Exit>) -> BoxStream<ProcessFrame> {
    let output = frames.map(|frame| frame.map(output_frame));
    let last = stream::once(async move { exit.get().await.map(ProcessFrame::Exit) });
    // A log that cannot be read is the last word too.
    let all = output.chain(last).scan(false, |failed, frame| {
        let over = std::mem::replace(failed, frame.is_err());
        std::future::ready((!over).then_some(frame))
    });
    Box::pin(all)
}

fn output_frame(frame: LogFrame) -> ProcessFrame {
    let data = frame.data;
    match frame.stream {
        OutputStream::Stdout => ProcessFrame::Stdout { data },
        OutputStream::Stderr => ProcessFrame::Stderr { data },
    }
}

/// How the run ends that is attached to.
#[derive(Debug)]
struct Exit {
    known: watch::Receiver<Option<Result<ProcessExit>>>,
    task: JoinHandle<()>,
}

impl Drop for Exit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exit {
    fn watch(process: Arc<dyn MainProcess>) -> Self {
        let (sender, known) = watch::channel(None);
        let task = tokio::spawn(async move {
            let exit = process.wait().await;
            sender.send_replace(Some(exit.map(process_exit)));
        });
        Self { known, task }
    }

    async fn get(&self) -> Result<ProcessExit> {
        let mut known = self.known.clone();
        let found = known.wait_for(Option::is_some).await;
        let lost = || DriverError::internal("the end of the process was lost");
        found.ok().and_then(|found| found.clone()).ok_or_else(lost)?
    }

    fn is_known(&self) -> bool {
        self.known.borrow().is_some()
    }
}

fn process_exit(exit: ExitInfo) -> ProcessExit {
    // A container that was removed by force has no code any more.
    let code = exit.exit_code.unwrap_or(Signal::KILL.exit_code());
    ProcessExit {
        exit_code: code,
        signal: exit.signal.or(exit.exit_code.is_none().then_some(Signal::KILL)),
        timed_out: false,
    }
}

#[derive(Debug)]
struct AttachControl {
    id: String,
    tty: bool,
    process: Arc<dyn MainProcess>,
    exit: Arc<Exit>,
    /// Orders those who write.
    writing: Mutex<()>,
}

impl AttachControl {
    fn closed(&self) -> DriverError {
        let allowed = ["running with its stdin open (stdin: true)"];
        DriverError::invalid_state(&self.id, "not running, or its stdin is closed", allowed)
    }

    /// Writes all, or until the process ends.
    async fn write(&self, data: Bytes) -> Result<()> {
        let _turn = self.writing.lock().await;
        self.process.started().await?;
        let process = Arc::clone(&self.process);
        let stdin = match blocking(move || process.stdin()).await {
            Ok(Some(stdin)) if !self.exit.is_known() => stdin,
            Ok(_) => return Err(self.closed()),
            Err(error) if error.code() == "INVALID_STATE" => return Err(self.closed()),
            Err(error) => return Err(error),
        };
        tokio::select! {
            biased;
            written = write_all(stdin, data) => match written {
                Ok(()) => Ok(()),
                // The process has closed its stdin, or its terminal is gone with it.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe) || error.raw_os_error() == Some(5) => {
                    Err(self.closed())
                }
                Err(error) => Err(DriverError::internal(format!("stdin cannot be written: {error}"))),
            },
            _ = self.exit.get() => Err(self.closed()),
        }
    }
}

/// Writes to a pipe or terminal, waiting while the process does not read.
async fn write_all(stdin: OwnedFd, mut data: Bytes) -> io::Result<()> {
    // The description is shared with the shim, which never waits in it.
    rustix::io::ioctl_fionbio(&stdin, true)?;
    let stdin = ready::register(stdin, Interest::WRITABLE)?;
    while !data.is_empty() {
        let mut ready = stdin.writable().await?;
        let written = ready.try_io(|stdin| Ok(rustix::io::write(stdin.get_ref().as_fd(), &data)?));
        match written {
            Ok(Ok(count)) => data.advance(count),
            Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
    Ok(())
}

#[async_trait]
impl ProcessControl for AttachControl {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.write(data).await
    }

    /// For all handles. A terminal stays open, as terminals do; its reader gets an end of file.
    async fn close_stdin(&self) -> Result<()> {
        if self.tty {
            let end = Bytes::from_static(&[END_OF_TRANSMISSION]);
            return match self.write(end).await {
                Err(error) if error.code() == "INVALID_STATE" => Ok(()),
                other => other,
            };
        }
        let _turn = self.writing.lock().await;
        if self.exit.is_known() {
            return Ok(());
        }
        self.process.started().await?;
        let process = Arc::clone(&self.process);
        match blocking(move || process.close_stdin()).await {
            // It has ended.
            Err(error) if error.code() == "INVALID_STATE" => Ok(()),
            other => other,
        }
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        if !self.tty {
            let violation =
                Violation::new("/tty", "the process has no terminal").with_hint("create it with tty: true");
            return Err(DriverError::violations(vec![violation]));
        }
        let process = Arc::clone(&self.process);
        let terminal = blocking(move || process.stdin()).await?;
        let terminal = terminal.ok_or_else(|| self.closed())?;
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(terminal, size)
            .map_err(|error| DriverError::internal(format!("the terminal's size cannot be set: {error}")))
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    async fn kill(&self) -> Result<()> {
        if self.exit.is_known() {
            return Ok(());
        }
        if let Err(error) = self.process.signal(Signal::KILL) {
            // Frozen: somebody has to resume it first. Not there: nothing is to be done.
            let alive = self.process.is_alive()?;
            return if alive { Err(error) } else { Ok(()) };
        }
        self.exit.get().await.map(drop)
    }

    async fn wait(&self) -> Result<ProcessExit> {
        self.exit.get().await
    }

    /// The process does not depend on the handle.
    fn detach(&self) {}
}

#[cfg(test)]
mod tests;
