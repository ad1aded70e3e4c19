//! The life of an exec: one task between the connection and the handle.
//!
//! The task always reads the connection: the guard sends no more output than was granted, so what waits for a slow
//! reader is bounded by the window, and an exit is known although nobody reads frames.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use driver_types::{DriverError, ProcessExit, ProcessFrame, Result, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{Connection, Session};
use crate::{Command, Frame, Report, WINDOW};

/// How long the last commands of a handle that is dropped may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// What the handle wants.
#[derive(Debug)]
pub(super) enum Order {
    /// Tells the guard.
    Tell(Command),
    /// The handle is gone.
    Leave,
}

/// What is known of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// How it ended.
    pub(super) exit: Option<ProcessExit>,
    /// Whether a kill has reached the whole tree, once one was asked for.
    pub(super) killed: Option<bool>,
    /// The connection was lost before the end was known.
    pub(super) lost: Option<DriverError>,
}

/// The ends of the task that the handle holds.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) frames: mpsc::UnboundedReceiver<Result<ProcessFrame>>,
    pub(super) state: watch::Receiver<State>,
    /// Bytes of stdin that may be sent. Closed with the end of the process.
    pub(super) room: Arc<Semaphore>,
}

/// The end of a process whose container was killed: what happens to all processes when the main one ends.
pub fn killed() -> ProcessExit {
    ProcessExit {
        exit_code: Signal::KILL.exit_code(),
        signal: Some(Signal::KILL),
        timed_out: false,
    }
}

/// Begins to serve a started process.
pub(super) fn start<C, F>(
    session: Session<C>,
    last_word: impl FnOnce(Option<io::Error>) -> F + Send + 'static,
) -> Pump
where
    C: Connection,
    F: Future<Output = Result<ProcessExit>> + Send + 'static,
{
    let (orders, incoming_orders) = mpsc::unbounded_channel();
    // Not bounded by itself, but by the credit that the guard has.
    let (frames, frame_receiver) = mpsc::unbounded_channel();
    let (state, state_receiver) = watch::channel(State::default());
    let room = Arc::new(Semaphore::new(WINDOW));
    let worker = Worker {
        session,
        orders: incoming_orders,
        frames,
        state,
        room: Arc::clone(&room),
        outgoing: VecDeque::new(),
    };
    tokio::spawn(worker.run(last_word));
    Pump {
        orders,
        frames: frame_receiver,
        state: state_receiver,
        room,
    }
}

struct Worker<C> {
    session: Session<C>,
    orders: mpsc::UnboundedReceiver<Order>,
    frames: mpsc::UnboundedSender<Result<ProcessFrame>>,
    state: watch::Sender<State>,
    room: Arc<Semaphore>,
    outgoing: VecDeque<u8>,
}

/// Why the task ends.
enum End {
    /// The guard has said all.
    Said,
    /// The handle is gone: closing the connection tells the guard.
    Left,
    /// The stream ended without a last word.
    Cut(Option<io::Error>),
}

impl<C: Connection> Worker<C> {
    async fn run<F>(mut self, last_word: impl FnOnce(Option<io::Error>) -> F)
    where
        F: Future<Output = Result<ProcessExit>>,
    {
        let end = self.serve().await;
        self.room.close();
        let known = self.state.borrow().exit;
        let Self {
            session,
            frames,
            state,
            orders,
            ..
        } = self;
        let exit = match end {
            End::Left => return,
            End::Said => known.map(Ok),
            End::Cut(cause) => {
                drop(session);
                Some(match known {
                    Some(exit) => Ok(exit),
                    None => last_word(cause).await,
                })
            }
        };
        match &exit {
            Some(Ok(exit)) => state.send_modify(|state| state.exit = Some(*exit)),
            Some(Err(error)) => state.send_modify(|state| state.lost = Some(error.clone())),
            None => {}
        }
        // The exit is the last frame.
        if let Some(exit) = exit {
            let _ = frames.send(exit.map(ProcessFrame::Exit));
        }
        // Before the state's sender: who waits for it then finds the orders closed.
        drop(orders);
    }

    async fn serve(&mut self) -> End {
        let mut buffer = bytes::BytesMut::new();
        loop {
            loop {
                match self.session.decoder.decode() {
                    Ok(Some(Report::End)) => return End::Said,
                    Ok(Some(report)) => self.hear(report),
                    Ok(None) => break,
                    Err(broken) => {
                        return End::Cut(Some(io::Error::new(io::ErrorKind::InvalidData, broken)));
                    }
                }
            }
            buffer.clear();
            buffer.reserve(32 * 1024);
            let (mut reader, mut writer) = tokio::io::split(&mut self.session.connection);
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
                    Ok(_) => self.session.decoder.push(&buffer),
                    Err(error) => return End::Cut(Some(error)),
                },
            }
        }
    }

    fn tell(&mut self, command: &Command) {
        let mut wire = Vec::new();
        command.encode(&mut wire);
        self.outgoing.extend(wire);
    }

    /// Sends what is still to be sent (a detach may be among it), then lets the connection go.
    async fn leave(&mut self) -> End {
        let outgoing = std::mem::take(&mut self.outgoing);
        let connection = &mut self.session.connection;
        let _ = tokio::time::timeout(LEAVE_LIMIT, async {
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
        if self.frames.send(Ok(frame)).is_err() {
            // Nobody reads frames any more; the process must not be held back for that.
            self.tell(&Command::Credit(bytes as u32));
        }
    }
}
