//! Handles of processes: of an exec, and of the main process.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use driver_types::{
    BoxStream, ContainerStatus, DriverError, OutputStream, ProcessControl, ProcessExit, ProcessFrame,
    ProcessHandle, Result, Signal, TerminalSize,
};
use futures_util::stream;
use tokio::sync::mpsc;

use super::MockDriver;
use super::exec::Exec;
use crate::kernel::{End, Output, Pipe, Terminal, frame};
use crate::script::Lie;
use crate::world::Sandbox;

/// The frames of an exec: what it writes, then its exit.
pub(super) fn exec_frames(
    exec: &Arc<Exec>,
    frames: mpsc::Receiver<ProcessFrame>,
    timed_out: Arc<AtomicBool>,
    exit_first: bool,
) -> BoxStream<ProcessFrame> {
    let mut exit = exec.exit.clone();
    let exit = async move {
        let end = exit.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        let end = end.unwrap_or(End::Signal(Signal::KILL));
        end.process_exit(timed_out.load(Ordering::SeqCst))
    };
    frames_then_exit(frames, exit, exit_first)
}

/// Frames until `exit` is known and all of them are read, then the exit.
fn frames_then_exit(
    frames: mpsc::Receiver<ProcessFrame>,
    exit: impl Future<Output = ProcessExit> + Send + 'static,
    exit_first: bool,
) -> BoxStream<ProcessFrame> {
    enum State {
        Open(std::pin::Pin<Box<dyn Future<Output = ProcessExit> + Send>>),
        Ending(ProcessExit),
        Done,
    }
    let start = (frames, State::Open(Box::pin(exit)));
    Box::pin(stream::unfold(start, move |(mut frames, mut state)| async move {
        loop {
            state = match state {
                State::Done => return None,
                State::Ending(exit) => match frames.try_recv() {
                    Ok(frame) => return Some((Ok(frame), (frames, State::Ending(exit)))),
                    Err(_) => return Some((Ok(ProcessFrame::Exit(exit)), (frames, State::Done))),
                },
                State::Open(exit) if exit_first => {
                    return Some((Ok(ProcessFrame::Exit(exit.await)), (frames, State::Done)));
                }
                State::Open(mut exit) => tokio::select! {
                    biased;
                    Some(frame) = frames.recv() => return Some((Ok(frame), (frames, State::Open(exit)))),
                    exit = &mut exit => State::Ending(exit),
                },
            };
        }
    }))
}

/// The handle of a process that could not run.
pub(super) fn not_executable(code: i32, message: String) -> ProcessHandle {
    let exit = ProcessExit {
        exit_code: code,
        signal: None,
        timed_out: false,
    };
    let said = frame(OutputStream::Stderr, message.into());
    let frames = [Ok(said), Ok(ProcessFrame::Exit(exit))];
    ProcessHandle::new(Box::pin(stream::iter(frames)), Ended(exit))
}

/// Control over a process that never ran.
#[derive(Debug)]
struct Ended(ProcessExit);

#[async_trait]
impl ProcessControl for Ended {
    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Err(ended("exec"))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Err(ended("exec"))
    }

    async fn signal(&self, _: Signal) -> Result<()> {
        Err(ended("exec"))
    }

    async fn kill(&self) -> Result<()> {
        Ok(())
    }

    async fn wait(&self) -> Result<ProcessExit> {
        Ok(self.0)
    }

    fn detach(&self) {}
}

fn ended(id: &str) -> DriverError {
    DriverError::invalid_state(id, ContainerStatus::Exited, [ContainerStatus::Running])
}

fn no_terminal() -> DriverError {
    DriverError::configuration("the process has no terminal; start it with `tty: true`")
}

fn no_stdin() -> DriverError {
    DriverError::configuration("stdin of the process is not open; start it with stdin attached")
}

/// Control over an exec. Dropping it kills the tree unless it was detached.
#[derive(Debug)]
pub(super) struct ExecControl {
    exec: Arc<Exec>,
    timed_out: Arc<AtomicBool>,
    detached: AtomicBool,
    /// A lie: input goes nowhere.
    swallow: bool,
}

impl ExecControl {
    pub(super) fn new(exec: Arc<Exec>, timed_out: Arc<AtomicBool>, swallow: bool) -> Self {
        Self {
            exec,
            timed_out,
            detached: AtomicBool::new(false),
            swallow,
        }
    }

    fn has_ended(&self) -> bool {
        self.exec.exit.borrow().is_some()
    }
}

#[async_trait]
impl ProcessControl for ExecControl {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        if self.has_ended() {
            return Err(ended(&self.exec.sandbox.container.id));
        }
        let stdin = self.exec.stdin.as_ref().ok_or_else(no_stdin)?;
        if self.swallow {
            return Ok(());
        }
        let mut exit = self.exec.exit.clone();
        let sandbox = &self.exec.sandbox;
        let output = sandbox.with_kernel(|kernel, _| {
            kernel
                .living(self.exec.pid)
                .map(|process| process.stdio.output.clone())
        });
        let output = output.unwrap_or(Output::Null);
        let signal = |signal| self.exec.signal_tree(signal);
        let write = type_in(
            sandbox,
            output,
            stdin,
            self.exec.terminal.as_deref(),
            data,
            signal,
        );
        tokio::select! {
            biased;
            written = write => if written { Ok(()) } else { Err(ended(&self.exec.sandbox.container.id)) },
            _ = async { exit.wait_for(Option::is_some).await.is_ok() } => Err(ended(&self.exec.sandbox.container.id)),
        }
    }

    async fn close_stdin(&self) -> Result<()> {
        if let Some(stdin) = &self.exec.stdin {
            stdin.close();
        }
        Ok(())
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let terminal = self.exec.terminal.as_ref().ok_or_else(no_terminal)?;
        terminal.resize(size);
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        if self.has_ended() {
            return Err(ended(&self.exec.sandbox.container.id));
        }
        self.exec.sandbox.with_kernel(|kernel, now| {
            if kernel.run == self.exec.run {
                kernel.deliver(now, self.exec.pid, signal);
            }
        });
        Ok(())
    }

    async fn kill(&self) -> Result<()> {
        self.exec.signal_tree(Signal::KILL);
        Ok(())
    }

    async fn wait(&self) -> Result<ProcessExit> {
        let mut exit = self.exec.exit.clone();
        let end = exit.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        let end = end.unwrap_or(End::Signal(Signal::KILL));
        Ok(end.process_exit(self.timed_out.load(Ordering::SeqCst)))
    }

    fn detach(&self) {
        self.detached.store(true, Ordering::SeqCst);
    }
}

impl Drop for ExecControl {
    fn drop(&mut self) {
        if !self.detached.load(Ordering::SeqCst) && !self.has_ended() {
            self.exec.signal_tree(Signal::KILL);
        }
    }
}

/// Writes to stdin, through the line discipline where there is a terminal.
async fn type_in(
    sandbox: &Sandbox,
    output: Output,
    stdin: &Pipe,
    terminal: Option<&Terminal>,
    data: Bytes,
    signal: impl Fn(Signal),
) -> bool {
    let Some(terminal) = terminal else {
        return stdin.write(&data).await;
    };
    let typed = terminal.type_in(&data);
    if !typed.echo.is_empty() {
        output
            .write(
                OutputStream::Stdout,
                typed.echo.into(),
                sandbox.world.clock.now_ms(),
            )
            .await;
    }
    typed.signals.iter().for_each(|sent| signal(*sent));
    let written = stdin.write(&typed.lines).await;
    if typed.end_of_file {
        stdin.close();
    }
    written
}

impl MockDriver {
    pub(super) async fn do_attach(&self, id: &str) -> Result<ProcessHandle> {
        let (sandbox, instance) = self.find(id)?;
        if !instance.status.is_alive() && instance.status != ContainerStatus::Created {
            let allowed = [
                ContainerStatus::Created,
                ContainerStatus::Running,
                ContainerStatus::Paused,
            ];
            return Err(DriverError::invalid_state(id, instance.status, allowed));
        }
        let frames = sandbox.container.output.attach();
        let run = {
            let runs = sandbox.container.output.runs.get();
            if instance.status == ContainerStatus::Created {
                runs.begun.max(1)
            } else {
                runs.begun
            }
        };
        let exit = run_exit(sandbox.clone(), run);
        let control = AttachControl {
            sandbox,
            run,
            kills: self.lies(Lie::AttachKills),
        };
        Ok(ProcessHandle::new(frames_then_exit(frames, exit, false), control))
    }
}

/// How a run of the main process ends.
async fn run_exit(sandbox: Sandbox, run: u64) -> ProcessExit {
    let over = sandbox.container.output.runs.wait_for_end(run).await;
    over.exit
        .unwrap_or_else(|| End::Signal(Signal::KILL).process_exit(false))
}

/// Control over a main process.
#[derive(Debug)]
struct AttachControl {
    sandbox: Sandbox,
    run: u64,
    /// A lie: closing kills.
    kills: bool,
}

impl AttachControl {
    fn has_ended(&self) -> bool {
        let runs = self.sandbox.container.output.runs.get();
        runs.removed || runs.ended >= self.run
    }

    fn ended(&self) -> DriverError {
        ended(&self.sandbox.container.id)
    }
}

#[async_trait]
impl ProcessControl for AttachControl {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        if self.has_ended() {
            return Err(self.ended());
        }
        if !self.sandbox.container.config.stdin {
            return Err(no_stdin());
        }
        let console = {
            let console = self.sandbox.container.console();
            (console.stdin.clone(), console.terminal.clone())
        };
        let (Some(stdin), terminal) = console else {
            let allowed = [ContainerStatus::Running];
            return Err(DriverError::invalid_state(
                &*self.sandbox.container.id,
                ContainerStatus::Created,
                allowed,
            ));
        };
        let signal = |signal| {
            self.sandbox
                .with_kernel(|kernel, now| kernel.signal_main(now, signal))
        };
        let output = Output::Main(Arc::clone(&self.sandbox.container.output));
        tokio::select! {
            biased;
            written = type_in(&self.sandbox, output, &stdin, terminal.as_deref(), data, signal) => {
                if written { Ok(()) } else { Err(self.ended()) }
            }
            _ = run_exit(self.sandbox.clone(), self.run) => Err(self.ended()),
        }
    }

    async fn close_stdin(&self) -> Result<()> {
        if let Some(stdin) = &self.sandbox.container.console().stdin {
            stdin.close();
        }
        Ok(())
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let console = self.sandbox.container.console();
        console.terminal.as_ref().ok_or_else(no_terminal)?.resize(size);
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        if self.has_ended() {
            return Err(self.ended());
        }
        self.sandbox
            .with_kernel(|kernel, now| kernel.signal_main(now, signal));
        Ok(())
    }

    async fn kill(&self) -> Result<()> {
        self.sandbox.with_kernel(|kernel, now| {
            if kernel.run == self.run && kernel.is_alive() {
                kernel.exit(now, 1, End::Signal(Signal::KILL));
            }
        });
        Ok(())
    }

    async fn wait(&self) -> Result<ProcessExit> {
        Ok(run_exit(self.sandbox.clone(), self.run).await)
    }

    fn detach(&self) {}
}

impl Drop for AttachControl {
    fn drop(&mut self) {
        if self.kills {
            self.sandbox
                .with_kernel(|kernel, now| kernel.signal_main(now, Signal::KILL));
        }
    }
}
