//! The control of a process under the guard, and its frames.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use driver_types::{
    BoxStream, DriverError, ExecSpec, ProcessControl, ProcessExit, ProcessFrame, ProcessHandle, Result,
    Signal, TerminalSize, Violation,
};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};

use super::pump::{self, Order, Pump, State};
use super::{Connection, Session};
use crate::{Command, MAX_PAYLOAD};

/// Signals above the named ones: the guard, which has no unsafe code, cannot send them.
const LAST_NAMED_SIGNAL: i32 = 31;

/// A handle on the process of a session. `container` is for the texts of errors.
///
/// `last_word` is asked how the process ended whose connection ended, for this cause if any, without the guard's last
/// report: the guard was killed with its container, or somebody in between is gone. It may take its time; those who
/// wait for the process wait for it too.
pub async fn serve<C, F>(
    session: Session<C>,
    container: &str,
    spec: &ExecSpec,
    last_word: impl FnOnce(Option<io::Error>) -> F + Send + 'static,
) -> ProcessHandle
where
    C: Connection,
    F: Future<Output = Result<ProcessExit>> + Send + 'static,
{
    let Pump {
        orders,
        frames,
        state,
        room,
    } = pump::start(session, last_word);
    let control = ExecControl {
        container: container.to_owned(),
        orders: orders.clone(),
        state,
        stdin: Arc::new(Stdin {
            container: container.to_owned(),
            orders: orders.clone(),
            room,
            open: Mutex::new(spec.attach_stdin || spec.stdin.is_some() || spec.tty),
        }),
        tty: spec.tty,
    };
    feed(&control.stdin, spec).await;
    ProcessHandle::new(read(frames, orders), control)
}

/// Sends the stdin of the spec before anything that the handle writes.
async fn feed(stdin: &Arc<Stdin>, spec: &ExecSpec) {
    let (data, keep_open) = (spec.stdin.clone().unwrap_or_default().0, spec.attach_stdin);
    if data.is_empty() && keep_open {
        return;
    }
    let stdin = Arc::clone(stdin);
    let (begun, begins) = oneshot::channel();
    tokio::spawn(async move {
        let mut open = stdin.open.lock().await;
        let _ = begun.send(());
        // The process may end, or close its stdin, before it has read all.
        let sent = stdin.send(data).await;
        if *open && sent.is_ok() && !keep_open {
            *open = false;
            stdin.tell(Command::CloseStdin);
        }
    });
    // The lock is held by now.
    let _ = begins.await;
}

/// The frames; each one that is read lets the process write as much again.
fn read(
    frames: mpsc::UnboundedReceiver<Result<ProcessFrame>>,
    orders: mpsc::UnboundedSender<Order>,
) -> BoxStream<ProcessFrame> {
    Box::pin(futures_util::stream::unfold(
        (frames, orders),
        |(mut frames, orders)| async move {
            let frame = frames.recv().await?;
            if let Ok(ProcessFrame::Stdout { data } | ProcessFrame::Stderr { data }) = &frame {
                let _ = orders.send(Order::Tell(Command::Credit(data.len() as u32)));
            }
            Some((frame, (frames, orders)))
        },
    ))
}

/// The control of a process under the guard. Dropping it ends the tree, unless it was detached.
#[derive(Debug)]
struct ExecControl {
    container: String,
    orders: mpsc::UnboundedSender<Order>,
    state: watch::Receiver<State>,
    stdin: Arc<Stdin>,
    tty: bool,
}

/// The way to the process's stdin. The lock orders those who write; it says whether stdin is open.
#[derive(Debug)]
struct Stdin {
    container: String,
    orders: mpsc::UnboundedSender<Order>,
    room: Arc<Semaphore>,
    open: Mutex<bool>,
}

impl Stdin {
    /// Sends bytes, waiting while the process does not read.
    async fn send(&self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(MAX_PAYLOAD));
            let room = self.room.acquire_many(piece.len() as u32).await;
            room.map_err(|_| ended(&self.container))?.forget();
            self.tell(Command::Stdin(piece.into()));
        }
        Ok(())
    }

    fn tell(&self, command: Command) {
        let _ = self.orders.send(Order::Tell(command));
    }
}

fn ended(container: &str) -> DriverError {
    DriverError::invalid_state(container, "not running the process any more", ["running it"])
}

impl ExecControl {
    fn tell(&self, command: Command) {
        let _ = self.orders.send(Order::Tell(command));
    }

    /// Waits until `known` finds something in the state.
    async fn until<T>(&self, known: impl Fn(&State) -> Option<T>) -> Result<T> {
        let mut state = self.state.clone();
        loop {
            let seen = state.borrow_and_update().clone();
            if let Some(found) = known(&seen) {
                return Ok(found);
            }
            if let Some(error) = seen.lost {
                return Err(error);
            }
            if state.changed().await.is_err() {
                let last = state.borrow().clone();
                return known(&last)
                    .ok_or_else(|| DriverError::network("the connection to the process was closed"));
            }
        }
    }

    fn has_ended(&self) -> bool {
        let state = self.state.borrow();
        state.exit.is_some() || state.lost.is_some()
    }
}

#[async_trait]
impl ProcessControl for ExecControl {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let open = self.stdin.open.lock().await;
        if self.has_ended() {
            return Err(ended(&self.container));
        }
        if !*open {
            return Err(DriverError::invalid_state(
                &self.container,
                "running the process with its stdin closed",
                ["running it with stdin open (attachStdin)"],
            ));
        }
        self.stdin.send(data).await
    }

    async fn close_stdin(&self) -> Result<()> {
        let mut open = self.stdin.open.lock().await;
        if std::mem::replace(&mut *open, false) {
            self.tell(Command::CloseStdin);
        }
        Ok(())
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        if !self.tty {
            let violation =
                Violation::new("/tty", "the process has no terminal").with_hint("start it with tty: true");
            return Err(DriverError::violations(vec![violation]));
        }
        self.tell(Command::Resize {
            rows: size.rows,
            columns: size.columns,
        });
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        if self.has_ended() {
            return Err(ended(&self.container));
        }
        if signal.number() > LAST_NAMED_SIGNAL {
            let violation = Violation::new("/signal", format!("{signal} is a real-time signal"))
                .with_hint("use one of the signals 1 to 31, or signal_container for the main process");
            return Err(DriverError::violations(vec![violation]));
        }
        self.tell(Command::Signal(u8::try_from(signal.number()).unwrap_or_default()));
        Ok(())
    }

    async fn kill(&self) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        self.tell(Command::Kill);
        // A connection that ends with an exit and without an answer: the container has ended.
        let closed = |state: &State| state.exit.is_some() && self.orders.is_closed();
        let whole = self
            .until(|state| state.killed.or(closed(state).then_some(true)))
            .await?;
        if whole {
            Ok(())
        } else {
            let message = "processes of the exec could not be killed: they belong to another user or hang in the kernel";
            Err(DriverError::container_stop(&self.container, message))
        }
    }

    async fn wait(&self) -> Result<ProcessExit> {
        self.until(|state| state.exit).await
    }

    fn detach(&self) {
        self.tell(Command::Detach);
    }
}

impl Drop for ExecControl {
    fn drop(&mut self) {
        // What was ordered before, a detach for example, is still sent. The end of the connection tells the rest.
        let _ = self.orders.send(Order::Leave);
    }
}
