//! Delivering signals.

use std::time::Duration;

use driver_types::{OutputStream, Signal};

use super::{Disposition, End, Kernel, Role};
use crate::fs::{Errno, Sys};

const CAP_KILL: u32 = 5;

const CHLD: i32 = 17;
const CONT: i32 = 18;
const STOP: i32 = 19;
const TSTP: i32 = 20;
const TTIN: i32 = 21;
const TTOU: i32 = 22;
const URG: i32 = 23;
const WINCH: i32 = 28;

impl Kernel {
    /// Sends a signal from one process to another, with the checks of kill(2); `None` only checks.
    pub(crate) fn kill(&mut self, now: Duration, from: u32, to: u32, signal: Option<Signal>) -> Sys<()> {
        let target = self.processes.get(&to).ok_or(Errno("ESRCH"))?;
        let sender = self.processes.get(&from).ok_or(Errno("ESRCH"))?.credentials();
        if !sender.has(CAP_KILL) && sender.uid != target.credentials().uid {
            return Err(Errno::EPERM);
        }
        let Some(signal) = signal else {
            return Ok(());
        };
        // The kernel shields pid 1 from signals of its own namespace that it has no handler for.
        if to == 1 && (signal == Signal::KILL || signal.number() == STOP) {
            return Ok(());
        }
        self.deliver(now, to, signal);
        Ok(())
    }

    /// Sends a signal from outside of the container to its first process.
    pub(crate) fn signal_main(&mut self, now: Duration, signal: Signal) {
        self.deliver(now, 1, signal);
    }

    /// Sends a signal to all processes of an exec and what they started.
    pub(crate) fn signal_exec(&mut self, now: Duration, exec: u64, signal: Signal) {
        let members = self.processes.iter().filter(|(_, process)| process.exec == exec);
        let pids: Vec<u32> = members.map(|(pid, _)| *pid).collect();
        for pid in pids {
            self.deliver(now, pid, signal);
        }
    }

    /// Delivers a signal, whoever sent it.
    pub(crate) fn deliver(&mut self, now: Duration, pid: u32, signal: Signal) {
        let (main, frozen, now_ms) = (self.main, self.frozen, self.now_ms);
        let Some(process) = self.living(pid) else {
            return;
        };
        if signal == Signal::KILL {
            self.exit(now, pid, End::Signal(signal));
            return;
        }
        if process.role == Role::Init {
            self.deliver(now, main, signal);
            return;
        }
        if signal.number() == CONT && process.stopped {
            self.set_stopped(now, pid, false);
        } else if signal.number() == STOP {
            // Pid 1 cannot be stopped from inside, and the engine does not try.
            self.set_stopped(now, pid, true);
            return;
        }
        let Some(process) = self.living(pid) else {
            return;
        };
        match process.dispositions.get(&signal) {
            Some(Disposition::Ignore) => {}
            Some(disposition) => {
                let code = match disposition {
                    Disposition::TrapExit(code) => Some(*code),
                    _ => None,
                };
                let runs = !frozen && !process.stopped && process.trapped.is_empty();
                let line = format!("trap={signal}\n").into();
                // The handler runs at once, or with the task where a reader holds the process back.
                if runs && process.stdio.write_now(OutputStream::Stdout, line, now_ms) {
                    if let Some(code) = code {
                        self.exit(now, pid, End::Code(code));
                    }
                    return;
                }
                process.trapped.push_back(signal);
                if let Some(waker) = process.waker.take() {
                    waker.wake();
                }
            }
            None if pid == 1 => {}
            None => match signal.number() {
                CHLD | CONT | URG | WINCH => {}
                TSTP | TTIN | TTOU => self.set_stopped(now, pid, true),
                // A frozen process does not see it before it goes on.
                _ if self.frozen => self.defer(pid, signal),
                _ => self.exit(now, pid, End::Signal(signal)),
            },
        }
    }

    fn set_stopped(&mut self, now: Duration, pid: u32, stopped: bool) {
        self.settle(now);
        if let Some(process) = self.living(pid) {
            process.stopped = stopped;
            if let Some(waker) = process.waker.take() {
                waker.wake();
            }
        }
    }

    fn defer(&mut self, pid: u32, signal: Signal) {
        if let Some(process) = self.living(pid) {
            process.trapped.push_back(signal);
        }
    }

    /// Signals that end a process as soon as it goes on after a freeze: those without a handler.
    pub(crate) fn deliver_deferred(&mut self, now: Duration) {
        let pids: Vec<u32> = self.processes.keys().copied().collect();
        for pid in pids {
            let Some(process) = self.living(pid) else {
                continue;
            };
            let fatal = process
                .trapped
                .iter()
                .find(|signal| !process.dispositions.contains_key(signal));
            if let Some(signal) = fatal.copied() {
                self.exit(now, pid, End::Signal(signal));
            }
        }
    }
}
