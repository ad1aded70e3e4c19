//! Kills an application or its shims at a chosen system call. The points are not written into the product: each call that
//! changes something is one, counted by ptrace over the application, its shims and the first processes of containers.
//!
//! The tracer is a thread of its own: when it ends, the kernel lets go of all that it still traces.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::oci::Oci;
use crate::workload::image;
use crate::{app, calls};

/// An application that says nothing for so long hangs. Far more than the slowest step takes on a busy machine.
const HANGS: Duration = Duration::from_secs(300);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Application,
    Shims,
    Both,
}

/// When: before or after the call of this number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) call: usize,
    pub(crate) after: bool,
    pub(crate) victim: Victim,
}

/// A call that was counted.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Whether a shim lived.
    pub(crate) shim: bool,
}

/// What a run under the tracer came to.
pub(crate) struct Traced {
    pub(crate) calls: Vec<Call>,
    /// Where the kill was; `None`: it never got there.
    pub(crate) killed_at: Option<Call>,
    /// What the application said.
    pub(crate) said: String,
}

/// This program as an application on a state directory.
pub(crate) fn application(script: &str, state: &Path, seed: u64) -> std::io::Result<Child> {
    static REGISTRY: OnceLock<String> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| Oci::new(&image().unwrap_or_default()).serve());
    // Not by its path: another user may not come there.
    Command::new("/proc/self/exe")
        .args(["application", script])
        .arg(state)
        .arg(seed.to_string())
        .env(app::REGISTRY, registry)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// Runs a script, and kills at the point.
pub(crate) fn run(script: &str, state: &Path, point: Option<Point>) -> Result<Traced, String> {
    let (script, state) = (script.to_owned(), state.to_owned());
    let tracer = std::thread::spawn(move || trace(&script, &state, point));
    let (mut child, said, calls, killed_at) =
        tracer.join().map_err(|_| "the tracer panicked".to_owned())??;
    // Nothing of it is traced any more.
    let said = said.recv_timeout(HANGS);
    if said.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    match said {
        Ok(said) => Ok(Traced {
            calls,
            killed_at,
            said,
        }),
        Err(_) => Err(format!("the application hangs, after the kill at {killed_at:?}")),
    }
}

/// Collects what a child says until it ends.
pub(crate) fn listen(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stdout.read_to_end(&mut said);
            let _ = sender.send(String::from_utf8_lossy(&said).into_owned());
        });
    }
    receiver
}

type Done = (Child, mpsc::Receiver<String>, Vec<Call>, Option<Call>);

fn trace(script: &str, state: &Path, point: Option<Point>) -> Result<Done, String> {
    let mut child = application(script, state, 0).map_err(|error| error.to_string())?;
    let said = listen(&mut child);
    let pid = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(pid, options)
        .and_then(|()| ptrace::interrupt(pid))
        .map_err(|error| format!("it cannot be traced: {error}"))?;
    let begun = child.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
    begun.transpose().map_err(|error| error.to_string())?;
    let mut tracer = Tracer {
        application: pid,
        kinds: HashMap::from([(pid, Kind::Application)]),
        open: HashMap::new(),
        calls: Vec::new(),
        point,
        killed_at: None,
    };
    tracer.watch();
    Ok((child, said, tracer.calls, tracer.killed_at))
}

/// What a traced thread belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Application,
    /// A child of the application before it has executed.
    Spawned,
    Shim,
    /// A first process of a container, or of an exec, until it executes.
    Inside,
}

struct Tracer {
    application: Pid,
    kinds: HashMap<Pid, Kind>,
    /// Calls under way: their numbers.
    open: HashMap<Pid, usize>,
    calls: Vec<Call>,
    point: Option<Point>,
    killed_at: Option<Call>,
}

impl Tracer {
    /// Until the application has ended, or only shims are killed.
    fn watch(&mut self) {
        loop {
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let status = match waitpid(None, Some(flags)) {
                Ok(status) => status,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            };
            match status {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => {
                    self.kinds.remove(&pid);
                    self.open.remove(&pid);
                    if pid == self.application {
                        return;
                    }
                }
                // Whoever else stops when the application has been killed stays so until this thread ends.
                _ if self.killed_at.is_some() => {}
                WaitStatus::PtraceSyscall(pid) => {
                    if self.at_call(pid) {
                        return;
                    }
                    go_on(pid, None);
                }
                WaitStatus::PtraceEvent(pid, _, event) => self.at_event(pid, event),
                WaitStatus::Stopped(pid, signal) => {
                    self.kind(pid);
                    go_on(pid, Some(signal));
                }
                _ => {}
            }
        }
    }

    fn at_event(&mut self, pid: Pid, event: i32) {
        let kind = self.kind(pid);
        if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
            match kind {
                Kind::Spawned if is_shim(pid) => drop(self.kinds.insert(pid, Kind::Shim)),
                Kind::Spawned | Kind::Inside => {
                    // A program of others from here on.
                    self.kinds.remove(&pid);
                    self.open.remove(&pid);
                    let _ = ptrace::detach(pid, None);
                    return;
                }
                Kind::Application | Kind::Shim => {}
            }
        }
        go_on(pid, None);
    }

    /// A new thread may be seen before the call that made it returns: /proc tells whose it is.
    fn kind(&mut self, pid: Pid) -> Kind {
        let application = self.application;
        *self.kinds.entry(pid).or_insert_with(|| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse().ok().map(Pid::from_raw)
            };
            match (field("Tgid:"), field("PPid:")) {
                (Some(group), _) if group == application => Kind::Application,
                (_, Some(parent)) if parent == application => Kind::Spawned,
                // Forked by the fork server; what a shim forks is in another pid namespace, and has two numbers.
                _ if is_shim(pid) && numbers(&status) == 1 => Kind::Shim,
                _ => Kind::Inside,
            }
        })
    }

    /// Whether the work of this thread is over.
    fn at_call(&mut self, pid: Pid) -> bool {
        let entered = calls::state(pid);
        let (number, after) = match entered {
            calls::State::Entry(call) => {
                let Some(name) = calls::changes(pid, call) else {
                    return false;
                };
                let shim = self.kinds.values().any(|kind| *kind == Kind::Shim);
                let kind = self.kind(pid);
                self.calls.push(Call {
                    name: format!("{kind:?} {name}"),
                    shim,
                });
                self.open.insert(pid, self.calls.len() - 1);
                (self.calls.len() - 1, false)
            }
            calls::State::Exit => match self.open.remove(&pid) {
                Some(number) => (number, true),
                None => return false,
            },
            calls::State::Unknown => return false,
        };
        self.strike(number, after)
    }

    fn strike(&mut self, number: usize, after: bool) -> bool {
        let Some(point) = self.point else { return false };
        let shims: Vec<Pid> = self
            .kinds
            .iter()
            .filter(|(_, kind)| **kind == Kind::Shim)
            .map(|(pid, _)| *pid)
            .collect();
        let needs_shim = point.victim != Victim::Application;
        // Runs differ by a little: the first point from there on that has the victim.
        if number < point.call || after != point.after || (needs_shim && shims.is_empty()) {
            return false;
        }
        let mut call = self.calls[number].clone();
        call.name = format!("{} {}", if after { "after" } else { "before" }, call.name);
        self.killed_at = Some(call);
        if point.victim != Victim::Shims {
            let _ = kill(self.application, Signal::SIGKILL);
        }
        if needs_shim {
            for shim in shims {
                let _ = kill(shim, Signal::SIGKILL);
            }
        }
        point.victim == Victim::Shims
    }
}

fn go_on(pid: Pid, signal: Option<Signal>) {
    // It may have been killed meanwhile.
    let _ = ptrace::syscall(pid, signal);
}

/// How many numbers a process has: one in each pid namespace that it can be seen in.
fn numbers(status: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.map_or(0, |numbers| numbers.split_whitespace().count())
}

/// Whether a process has executed the shim.
pub(crate) fn is_shim(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"driver-local-shim\0"))
}
