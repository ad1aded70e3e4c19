//! A handle on the main process of a container.
//!
//! Output comes over a connection of each handle; dropping it changes nothing. Stdin is one connection for all handles
//! of a container, kept until somebody closes stdin: the engine takes the end of the connection for the end of stdin,
//! and a handle that is dropped must not be that. So stdin ends at the latest with this driver.

mod stdin;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use driver_types::{
    BoxStream, ContainerStatus, Data, DriverError, ExitInfo, Operation, ProcessControl, ProcessExit,
    ProcessFrame, ProcessHandle, Result, Signal, TerminalSize, Violation, WaitCondition,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::stdin::Stdin;
pub(crate) use self::stdin::Stdins;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::mux::{Channel, Demux};
use crate::{DRIVER_NAME, error, lifecycle, liveness, wait};

/// Where there is, or will be, a process to attach to.
const ALLOWED: [ContainerStatus; 2] = [ContainerStatus::Created, ContainerStatus::Running];
/// After the end of the process its last output follows at once; and the other way round.
const LAST_OUTPUT: Duration = Duration::from_secs(10);
/// What a terminal's user must type to be detached by the engine, because it cannot be switched off. The default is two
/// keys that shells use.
const DETACH_KEYS: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_";

/// Attaches to the main process, from now on. On a created container from its start on.
pub(crate) async fn attach(engine: &Arc<Engine>, id: &str) -> Result<ProcessHandle> {
    let operation = Operation::Attach;
    let inspect = engine.inspect(operation, id).await?;
    liveness::require(engine, &inspect, &ALLOWED)?;
    let tty = inspect.config.tty;
    let stdin = if inspect.config.open_stdin {
        Some(engine.stdins.of(engine, id, tty).await?)
    } else {
        None
    };
    let connection = connect(engine, id, &["stdout", "stderr"]).await?;
    let exit = Arc::new(Exit::watch(engine, id));
    let output = Output {
        connection,
        demux: (!tty).then(Demux::default),
        buffer: BytesMut::new(),
        pending: Bytes::new(),
        exit: Arc::clone(&exit),
    };
    let control = AttachControl {
        engine: Arc::clone(engine),
        id: id.to_owned(),
        tty,
        stdin,
        exit,
    };
    Ok(ProcessHandle::new(frames(output), control))
}

/// A connection to these streams of the main process.
async fn connect(engine: &Engine, id: &str, streams: &[&str]) -> Result<TokioIo<Upgraded>> {
    let mut call = engine
        .client
        .post(format!("/containers/{id}/attach"))
        .query("stream", true)
        .query("detachKeys", DETACH_KEYS);
    for stream in streams {
        call = call.query(stream, true);
    }
    match call.upgrade().await {
        Ok(connection) => Ok(connection),
        Err(failure) => {
            if failure.status_code() == Some(409) {
                let inspect = engine.inspect(Operation::Attach, id).await?;
                liveness::require(engine, &inspect, &ALLOWED)?;
            }
            Err(error::container(Operation::Attach, id, failure))
        }
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
    fn watch(engine: &Arc<Engine>, id: &str) -> Self {
        let (sender, known) = watch::channel(None);
        let (engine, id) = (Arc::clone(engine), id.to_owned());
        let task = tokio::spawn(async move {
            let exit = wait::wait_container(&engine, &id, WaitCondition::Exited).await;
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

/// The output of the main process. It is read as it is wanted: who does not read holds the process back.
struct Output {
    connection: TokioIo<Upgraded>,
    /// Absent with a terminal: its output is raw.
    demux: Option<Demux>,
    buffer: BytesMut,
    pending: Bytes,
    exit: Arc<Exit>,
}

fn frames(output: Output) -> BoxStream<ProcessFrame> {
    Box::pin(futures_util::stream::unfold(Some(output), |output| async move {
        let mut output = output?;
        match output.next().await {
            Ok(Some(frame)) => Some((Ok(frame), Some(output))),
            Ok(None) => {
                let exit = Arc::clone(&output.exit);
                drop(output);
                let exit = tokio::time::timeout(LAST_OUTPUT, exit.get()).await;
                let exit = exit.unwrap_or_else(|_| {
                    Err(DriverError::network(
                        "the engine closed the connection while the process runs",
                    ))
                });
                Some((exit.map(ProcessFrame::Exit).map_err(named), None))
            }
            Err(failure) => Some((Err(named(error::engine(failure))), None)),
        }
    }))
}

fn named(error: DriverError) -> DriverError {
    error
        .with_operation(Operation::Attach.name())
        .with_driver(DRIVER_NAME)
}

impl Output {
    async fn next(&mut self) -> Result<Option<ProcessFrame>, Failure> {
        loop {
            if let Some(frame) = self.decode()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(32 * 1024);
            let read = self.connection.read_buf(&mut self.buffer);
            let late = async {
                let _ = self.exit.get().await;
                tokio::time::sleep(LAST_OUTPUT).await;
            };
            tokio::select! {
                count = read => match count {
                    Ok(0) => return Ok(None),
                    Ok(_) => self.pending = self.buffer.split().freeze(),
                    Err(error) => return Err(Failure::Broken(error.to_string())),
                },
                // The container ended before the connection was made, and the engine waits for its next run.
                () = late => return Ok(None),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<ProcessFrame>, Failure> {
        let Some(demux) = &mut self.demux else {
            let data = std::mem::take(&mut self.pending);
            return Ok((!data.is_empty()).then(|| ProcessFrame::Stdout { data: data.into() }));
        };
        let Some(piece) = demux.next(&mut self.pending)? else {
            return Ok(None);
        };
        let data: Data = piece.data.into();
        match piece.channel {
            Channel::Stdout => Ok(Some(ProcessFrame::Stdout { data })),
            Channel::Stderr => Ok(Some(ProcessFrame::Stderr { data })),
            Channel::System => Err(Failure::Broken(data.to_text())),
        }
    }
}

/// The control of the main process.
#[derive(Debug)]
struct AttachControl {
    engine: Arc<Engine>,
    id: String,
    tty: bool,
    /// Absent where the config keeps stdin closed.
    stdin: Option<Arc<Stdin>>,
    exit: Arc<Exit>,
}

#[async_trait]
impl ProcessControl for AttachControl {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        match self.stdin.as_ref().filter(|_| !self.exit.is_known()) {
            Some(stdin) => stdin.write(&data).await,
            None => Err(stdin::closed(&self.id)),
        }
    }

    async fn close_stdin(&self) -> Result<()> {
        match &self.stdin {
            Some(stdin) => stdin.close().await,
            None => Ok(()),
        }
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        if !self.tty {
            let violation =
                Violation::new("/tty", "the process has no terminal").with_hint("create it with tty: true");
            return Err(DriverError::violations(vec![violation]));
        }
        let call = self
            .engine
            .client
            .post(format!("/containers/{}/resize", self.id))
            .query("h", size.rows)
            .query("w", size.columns);
        match call.unit().await {
            Ok(()) => Ok(()),
            Err(failure) => {
                let inspect = self
                    .engine
                    .inspect(Operation::Attach, &self.id)
                    .await
                    .map_err(named)?;
                liveness::require_running(&self.engine, &inspect).map_err(named)?;
                Err(named(error::container(Operation::Attach, &self.id, failure)))
            }
        }
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        lifecycle::signal_container(&self.engine, &self.id, signal)
            .await
            .map_err(named)
    }

    async fn kill(&self) -> Result<()> {
        if !self.exit.is_known() {
            match lifecycle::signal_container(&self.engine, &self.id, Signal::KILL).await {
                // It has ended meanwhile.
                Err(error) if matches!(error.code(), "INVALID_STATE" | "CONTAINER_NOT_FOUND") => {
                    return Ok(());
                }
                other => other.map_err(named)?,
            }
            self.exit.get().await.map_err(named)?;
        }
        Ok(())
    }

    async fn wait(&self) -> Result<ProcessExit> {
        self.exit.get().await.map_err(named)
    }

    /// The process does not depend on the handle.
    fn detach(&self) {}
}
