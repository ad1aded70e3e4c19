//! Programs that do something by themselves: a task each, which runs only while the kernel lets it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use driver_types::{OutputStream, Signal};

use super::{Disposition, End, Kernel, Process, Stdio};
use crate::fs::View;
use crate::world::Sandbox;

/// A process as its program sees it.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) sandbox: Sandbox,
    pub(crate) run: u64,
    pub(crate) pid: u32,
}

impl Context {
    /// Works on the kernel; what follows from it (an end, an event) happens before this returns.
    pub(crate) fn kernel<R>(&self, work: impl FnOnce(&mut Kernel, Duration) -> R) -> R {
        self.sandbox.with_kernel(work)
    }

    /// Works on the process; `None` once it is dead.
    pub(crate) fn process<R>(&self, work: impl FnOnce(&mut Process) -> R) -> Option<R> {
        self.sandbox.with_kernel(|kernel, _| {
            if kernel.run == self.run {
                kernel.living(self.pid).map(work)
            } else {
                None
            }
        })
    }

    /// The file systems as the process sees them.
    pub(crate) fn view<R: Default>(&self, work: impl FnOnce(&View<'_>) -> R) -> R {
        let seen = self.sandbox.with_kernel(|kernel, _| {
            let mounts = kernel.mounts();
            if kernel.run != self.run {
                return None;
            }
            kernel.living(self.pid).map(|process| {
                (
                    mounts,
                    std::sync::Arc::clone(&process.privileges),
                    std::sync::Arc::clone(&process.cwd),
                    process.umask,
                )
            })
        });
        let Some((mounts, privileges, cwd, umask)) = seen else {
            return R::default();
        };
        let result = work(&View {
            mounts: &mounts,
            who: &privileges.credentials,
            cwd: &cwd,
            umask,
            now: self.sandbox.world.clock.now_ms() / 1000,
        });
        // What was written to memory counts at once.
        self.kernel(|kernel, now| kernel.charge_memory(now));
        result
    }

    pub(crate) async fn sleep(&self, ms: u64) {
        self.sandbox.world.clock.sleep(Duration::from_millis(ms)).await;
    }

    pub(crate) fn stdio(&self) -> Stdio {
        self.process(|process| process.stdio.clone())
            .unwrap_or_else(Stdio::null)
    }

    pub(crate) async fn write(&self, stream: OutputStream, data: impl Into<Bytes>) {
        let now = self.sandbox.world.clock.now_ms();
        self.stdio().write(stream, data.into(), now).await;
    }
}

/// Runs a program as the task of a process that is in the table.
pub(crate) fn run(context: Context, program: impl Future<Output = End> + Send + 'static) {
    let task = tokio::spawn(Task {
        context: context.clone(),
        program: Box::pin(program),
        telling: None,
    });
    context.process(|process| process.task = Some(task.abort_handle()));
}

/// A line that is being written.
type Telling = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    context: Context,
    program: Pin<Box<dyn Future<Output = End> + Send>>,
    /// The line about a trapped signal that is being written, and the exit code that follows it.
    telling: Option<(Telling, Option<i32>)>,
}

/// What the kernel says when a task wants to run.
enum Turn {
    Gone,
    Wait,
    Signal(Signal, Disposition),
    Run,
}

impl Task {
    fn turn(&self, task: &TaskContext<'_>) -> Turn {
        self.context.kernel(|kernel, _| {
            let frozen = kernel.frozen;
            if kernel.run != self.context.run {
                return Turn::Gone;
            }
            let Some(process) = kernel.living(self.context.pid) else {
                return Turn::Gone;
            };
            process.waker = Some(task.waker().clone());
            if frozen || process.stopped {
                return Turn::Wait;
            }
            match process.trapped.pop_front() {
                Some(signal) => {
                    let disposition = process.dispositions.get(&signal).copied();
                    Turn::Signal(signal, disposition.unwrap_or(Disposition::Ignore))
                }
                None => Turn::Run,
            }
        })
    }

    fn end(&self, end: End) {
        self.context.kernel(|kernel, now| {
            if kernel.run == self.context.run {
                kernel.exit(now, self.context.pid, end);
            }
        });
    }

    fn tell(&self, signal: Signal) -> Telling {
        let context = self.context.clone();
        Box::pin(async move {
            context
                .write(OutputStream::Stdout, format!("trap={signal}\n"))
                .await
        })
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            match self.turn(task) {
                Turn::Gone => return Poll::Ready(()),
                Turn::Wait => return Poll::Pending,
                Turn::Signal(_, Disposition::Ignore) => continue,
                Turn::Signal(signal, disposition) => {
                    let code = match disposition {
                        Disposition::TrapExit(code) => Some(code),
                        _ => None,
                    };
                    let earlier = self.telling.take();
                    let line = self.tell(signal);
                    let told: Telling = match earlier {
                        Some((earlier, _)) => Box::pin(async move {
                            earlier.await;
                            line.await;
                        }),
                        None => line,
                    };
                    self.telling = Some((told, code));
                }
                Turn::Run => {}
            }
            if let Some((line, code)) = &mut self.telling {
                ready!(line.as_mut().poll(task));
                let code = *code;
                self.telling = None;
                if let Some(code) = code {
                    self.end(End::Code(code));
                    return Poll::Ready(());
                }
                continue;
            }
            return match self.program.as_mut().poll(task) {
                Poll::Ready(end) => {
                    self.end(end);
                    Poll::Ready(())
                }
                Poll::Pending => Poll::Pending,
            };
        }
    }
}
