//! The life of an exec: one task between the connection and the handle.
//!
//! The task always reads the connection: the guard sends no more output than was granted, so what waits for a slow
//! reader is bounded by the window, and an exit is known although nobody reads frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use driver_exec_guard::{Command, Frame, Report, WINDOW};
use driver_types::{DriverError, Operation, ProcessExit, ProcessFrame, Result, Signal};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::engine::Engine;
use crate::error;
use crate::exec_session::Session;
use crate::failure::Failure;

/// How long the engine may take to note the end of an exec whose stream has ended.
const NOTE_LIMIT: Duration = Duration::from_secs(5);
const NOTE_POLL: Duration = Duration::from_millis(50);

/// What the handle wants.
#[derive(Debug)]
pub(crate) enum Order {
    /// Tells the guard.
    Tell(Command),
    /// The handle is gone.
    Leave,
}

/// What is known of the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// How it ended.
    pub(crate) exit: Option<ProcessExit>,
    /// Whether a kill has reached the whole tree, once one was asked for.
    pub(crate) killed: Option<bool>,
    /// The connection was lost before the end was known.
    pub(crate) lost: Option<DriverError>,
}

/// The ends of the task that the handle holds.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) frames: mpsc::UnboundedReceiver<Result<ProcessFrame>>,
    pub(crate) state: watch::Receiver<State>,
    /// Bytes of stdin that may be sent. Closed with the end of the process.
    pub(crate) room: Arc<Semaphore>,
}

/// Begins to serve a started process.
pub(crate) fn start(engine: &Arc<Engine>, id: &str, session: Session) -> Pump {
    let (orders, incoming_orders) = mpsc::unbounded_channel();
    // Not bounded by itself, but by the credit that the guard has.
    let (frames, frame_receiver) = mpsc::unbounded_channel();
    let (state, state_receiver) = watch::channel(State::default());
    let room = Arc::new(Semaphore::new(WINDOW));
    let worker = Worker {
        engine: Arc::clone(engine),
        container: id.to_owned(),
        session,
        orders: incoming_orders,
        frames,
        state,
        room: Arc::clone(&room),
        outgoing: VecDeque::new(),
        outstanding: 0,
    };
    tokio::spawn(worker.run());
    Pump {
        orders,
        frames: frame_receiver,
        state: state_receiver,
        room,
    }
}

struct Worker {
    engine: Arc<Engine>,
    container: String,
    session: Session,
    orders: mpsc::UnboundedReceiver<Order>,
    frames: mpsc::UnboundedSender<Result<ProcessFrame>>,
    state: watch::Sender<State>,
    room: Arc<Semaphore>,
    outgoing: VecDeque<u8>,
    /// Output that was received and not yet granted anew.
    outstanding: usize,
}

/// Why the task ends.
enum End {
    /// The guard has said all.
    Said,
    /// The handle is gone: closing the connection tells the guard.
    Left,
    /// The stream ended without a last word.
    Cut(Option<Failure>),
}

impl Worker {
    async fn run(mut self) {
        let end = self.serve().await;
        self.room.close();
        match end {
            End::Left => {}
            End::Said => self.finish(),
            End::Cut(failure) => {
                let known = self.state.borrow().exit;
                let Self {
                    engine,
                    container,
                    session,
                    frames,
                    state,
                    ..
                } = self;
                let exec_id = session.exec_id;
                drop(session.incoming);
                let word = match known {
                    Some(exit) => Ok(exit),
                    None => last_word(&engine, &container, &exec_id, failure).await,
                };
                match &word {
                    Ok(exit) => state.send_modify(|state| state.exit = Some(*exit)),
                    Err(error) => state.send_modify(|state| state.lost = Some(error.clone())),
                }
                let _ = frames.send(word.map(ProcessFrame::Exit));
            }
        }
    }

    /// The exit is the last frame.
    fn finish(&self) {
        if let Some(exit) = self.state.borrow().exit {
            let _ = self.frames.send(Ok(ProcessFrame::Exit(exit)));
        }
    }

    async fn serve(&mut self) -> End {
        let mut buffer = bytes::BytesMut::new();
        loop {
            loop {
                match self.session.incoming.reports.decode() {
                    Ok(Some(Report::End)) => return End::Said,
                    Ok(Some(report)) => self.hear(report),
                    Ok(None) => break,
                    Err(failure) => return End::Cut(Some(failure)),
                }
            }
            buffer.reserve(32 * 1024);
            let (mut reader, mut writer) = tokio::io::split(&mut self.session.incoming.connection);
            let pending = self.outgoing.make_contiguous();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Tell(command)) => self.tell(&command),
                    Some(Order::Leave) | None => return self.leave().await,
                },
                written = writer.write(pending), if !pending.is_empty() => match written {
                    Ok(count) => drop(self.outgoing.drain(..count)),
                    // The reading side tells why.
                    Err(_) => self.outgoing.clear(),
                },
                read = reader.read_buf(&mut buffer) => match read {
                    Ok(0) => return End::Cut(None),
                    Ok(_) => {
                        if let Err(failure) = self.session.incoming.reports.push(buffer.split().freeze()) {
                            return End::Cut(Some(failure));
                        }
                    }
                    Err(error) => return End::Cut(Some(Failure::Broken(error.to_string()))),
                },
            }
        }
    }

    fn tell(&mut self, command: &Command) {
        if let Command::Credit(bytes) = command {
            self.outstanding = self.outstanding.saturating_sub(*bytes as usize);
        }
        let mut wire = Vec::new();
        command.encode(&mut wire);
        self.outgoing.extend(wire);
    }

    /// Sends what is still to be sent (a detach may be among it), then lets the connection go.
    async fn leave(&mut self) -> End {
        let outgoing = std::mem::take(&mut self.outgoing);
        let connection = &mut self.session.incoming.connection;
        let _ = tokio::time::timeout(Duration::from_secs(5), async {
            let (first, second) = outgoing.as_slices();
            connection.write_all(first).await?;
            connection.write_all(second).await?;
            connection.shutdown().await
        })
        .await;
        End::Left
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Stdout(data) => self.output(data.len(), ProcessFrame::Stdout { data: data.into() }),
            Report::Stderr(data) => self.output(data.len(), ProcessFrame::Stderr { data: data.into() }),
            Report::StdinTaken(bytes) => {
                let free = self.room.available_permits();
                self.room
                    .add_permits((bytes as usize).min(WINDOW.saturating_sub(free)));
            }
            Report::Exited {
                code,
                signal,
                timed_out,
            } => {
                let exit = ProcessExit {
                    exit_code: code.into(),
                    signal: Signal::from_number(signal.into()),
                    timed_out,
                };
                self.room.close();
                self.state.send_modify(|state| state.exit = Some(exit));
            }
            Report::Killed(whole) => self.state.send_modify(|state| state.killed = Some(whole)),
            Report::Hello(_) | Report::Started | Report::StartFailed(_) | Report::End => {}
        }
    }

    fn output(&mut self, bytes: usize, frame: ProcessFrame) {
        self.outstanding += bytes;
        if self.frames.send(Ok(frame)).is_err() {
            // Nobody reads frames any more; the process must not be held back for that.
            self.tell(&Command::Credit(bytes as u32));
        }
    }
}

/// The stream has ended without the guard's last word: the guard was killed, with its container or by it, or the engine
/// is gone. The engine knows.
async fn last_word(
    engine: &Engine,
    container: &str,
    exec_id: &str,
    failure: Option<Failure>,
) -> Result<ProcessExit> {
    let lost = || {
        let cause = failure
            .as_ref()
            .map_or_else(|| "the engine closed it".to_owned(), Failure::message);
        let message = format!("the connection to the process was lost: {cause}");
        DriverError::network(message)
            .with_operation(Operation::ExecStream.name())
            .with_driver(crate::DRIVER_NAME)
    };
    match tokio::time::timeout(NOTE_LIMIT, noted_exit(engine, container, exec_id)).await {
        Ok(Ok(exit)) => Ok(exit),
        Ok(Err(error)) => Err(lost().with_source(error)),
        Err(_) => Err(lost()),
    }
}

async fn noted_exit(engine: &Engine, container: &str, exec_id: &str) -> Result<ProcessExit> {
    /// `GET /exec/{id}/json`.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Exec {
        running: bool,
        exit_code: Option<i32>,
    }
    loop {
        match engine
            .client
            .get(format!("/exec/{exec_id}/json"))
            .value::<Exec>()
            .await
        {
            Ok(Exec {
                running: false,
                exit_code: Some(code),
            }) => {
                return Ok(ProcessExit {
                    exit_code: code,
                    signal: Signal::from_exit_code(code),
                    timed_out: false,
                });
            }
            Ok(_) => {}
            // The engine forgets the processes of a container that has ended.
            Err(Failure::Status { status: 404, .. }) => return Ok(killed()),
            Err(failure) => return Err(error::engine(failure)),
        }
        let found = engine.find(Operation::ExecStream, container).await?;
        if found.is_none_or(|inspect| inspect.state.pid == 0) {
            return Ok(killed());
        }
        tokio::time::sleep(NOTE_POLL).await;
    }
}

/// What happens to all processes when the main one ends.
fn killed() -> ProcessExit {
    ProcessExit {
        exit_code: Signal::KILL.exit_code(),
        signal: Some(Signal::KILL),
        timed_out: false,
    }
}
