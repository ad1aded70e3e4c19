//! The simulated kernel of one container: its processes and what they use.
//!
//! A process costs a task only where it does something by itself; one that waits for a signal is a row of the
//! table. Everything that ends a process happens at once, under the container's lock: when a call returns, the
//! process is gone.

mod limits;
mod mounts;
mod process;
mod security;
mod signals;
mod stdio;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driver_types::{ResourceLimits, Signal};

pub(crate) use limits::MIB;
pub(crate) use mounts::{MountPlan, add_mount_points};
pub(crate) use process::{Disposition, End, Environment, Process, ProcessSpec, Role, environment};
pub(crate) use security::{Privileges, User, find_user};
pub(crate) use stdio::{Output, Pipe, Stdio, Terminal, frame};
pub(crate) use task::{Context, run};

use crate::fs::{Errno, Mount, SharedTree, Sys};
use crate::world::Ending;

/// The kernel's view of a container.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The time in epoch milliseconds.
    pub(crate) now_ms: u64,
    /// Counts the runs, so that what belongs to an earlier one can tell.
    pub(crate) run: u64,
    /// Living processes and zombies by pid; empty unless it runs.
    pub(crate) processes: BTreeMap<u32, Box<Process>>,
    next_pid: u32,
    /// The process whose end ends the container, beside pid 1.
    pub(crate) main: u32,
    pub(crate) frozen: bool,
    pub(crate) limits: ResourceLimits,
    pub(crate) enforce: Enforce,
    plan: Arc<MountPlan>,
    /// What is mounted, once somebody has looked.
    mounts: Option<Arc<[Mount]>>,
    in_run: bool,
    /// Those of the mounts that count as memory.
    memory_trees: Vec<SharedTree>,
    cpu: limits::CpuAccount,
    pub(crate) peak_memory: u64,
    pub(crate) oom_kills: u64,
    /// Whether `stop_container` or a forced removal ends the current run.
    pub(crate) stopping: Ending,
    /// How the run ended, set once when the last process is gone and taken by the container.
    ended: Option<End>,
    /// Out-of-memory kills that have not been reported as events yet.
    pub(crate) unreported_ooms: u64,
    /// Interfaces but loopback: name and address.
    pub(crate) interfaces: Vec<(String, String)>,
}

/// Which limits the engine holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enforce {
    pub(crate) cpu: bool,
    pub(crate) memory: bool,
    pub(crate) pids: bool,
    /// Cores of the host.
    pub(crate) cores: f64,
}

impl Kernel {
    pub(crate) fn new(limits: ResourceLimits, enforce: Enforce, plan: Arc<MountPlan>) -> Self {
        Self {
            now_ms: 0,
            run: 0,
            processes: BTreeMap::new(),
            next_pid: 1,
            main: 1,
            frozen: false,
            limits,
            enforce,
            plan,
            mounts: None,
            in_run: false,
            memory_trees: Vec::new(),
            cpu: limits::CpuAccount::default(),
            peak_memory: 0,
            oom_kills: 0,
            stopping: Ending::None,
            ended: None,
            unreported_ooms: 0,
            interfaces: Vec::new(),
        }
    }

    /// Begins a run without processes.
    pub(crate) fn begin_run(&mut self, now: Duration) {
        self.run += 1;
        self.processes.clear();
        self.next_pid = 1;
        self.frozen = false;
        self.mounts = None;
        self.in_run = true;
        self.memory_trees.clear();
        self.cpu = limits::CpuAccount::new(now);
        self.peak_memory = 0;
        self.oom_kills = 0;
        self.stopping = Ending::None;
        self.ended = None;
        self.unreported_ooms = 0;
    }

    /// What is mounted in the current run; the root and volumes only, unless it runs.
    pub(crate) fn mounts(&mut self) -> Arc<[Mount]> {
        if let Some(mounts) = &self.mounts {
            return Arc::clone(mounts);
        }
        let mounts = if self.in_run {
            let (mounts, memory_trees) = self.plan.running();
            self.memory_trees = memory_trees;
            mounts
        } else {
            self.plan.at_rest()
        };
        self.mounts = Some(Arc::clone(&mounts));
        mounts
    }

    /// Whether a run has processes.
    pub(crate) fn is_alive(&self) -> bool {
        self.processes.get(&1).is_some_and(|init| init.end.is_none())
    }

    /// How the run ended, once.
    pub(crate) fn take_ended(&mut self) -> Option<End> {
        self.ended.take()
    }

    /// Adds a process, if there may be another one.
    pub(crate) fn spawn(&mut self, now: Duration, spec: ProcessSpec) -> Sys<u32> {
        if self.free_tasks() == 0 {
            return Err(Errno("EAGAIN"));
        }
        self.settle(now);
        let pid = self.next_pid;
        self.next_pid += 1;
        self.processes.insert(pid, Box::new(Process::new(spec)));
        self.charge_memory(now);
        Ok(pid)
    }

    /// A living process.
    pub(crate) fn living(&mut self, pid: u32) -> Option<&mut Process> {
        self.processes
            .get_mut(&pid)
            .map(Box::as_mut)
            .filter(|process| process.end.is_none())
    }

    /// Processes and threads, zombies included.
    pub(crate) fn task_count(&self) -> u64 {
        self.processes
            .values()
            .map(|process| 1 + u64::from(process.threads))
            .sum()
    }

    /// Ends a process: its memory and children go, and with pid 1 or the main process the whole container.
    pub(crate) fn exit(&mut self, now: Duration, pid: u32, end: End) {
        self.settle(now);
        let is_main = pid == self.main;
        let Some(process) = self.living(pid) else {
            return;
        };
        process.die(end);
        let parent = process.parent;
        if let Some(waker) = process.waker.take() {
            waker.wake();
        }
        if pid == 1 {
            self.end_run(end);
            return;
        }
        for child in self.processes.values_mut().filter(|child| child.parent == pid) {
            child.parent = 1;
        }
        // What the new parent reaps goes at once.
        if self.reaps(1) {
            self.processes
                .retain(|_, process| process.end.is_none() || process.parent != 1);
        }
        if parent == 0 || (parent == 1 && self.reaps(1)) {
            self.processes.remove(&pid);
        } else if let Some(waker) = self.living(parent).and_then(|parent| parent.waker.take()) {
            waker.wake();
        }
        if is_main && self.reaps(1) {
            self.exit(now, 1, end);
        }
    }

    /// Whether a process is an init that reaps what it inherits.
    fn reaps(&self, pid: u32) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| process.role == Role::Init)
    }

    /// Everything ends with pid 1.
    fn end_run(&mut self, end: End) {
        for process in self.processes.values_mut() {
            if process.end.is_none() {
                process.die(End::Signal(Signal::KILL));
            }
            if let Some(waker) = process.waker.take() {
                waker.wake();
            }
        }
        self.processes.clear();
        self.mounts = None;
        self.in_run = false;
        self.memory_trees.clear();
        self.ended = Some(end);
    }

    /// Takes a zombie child out of the table.
    pub(crate) fn reap(&mut self, parent: u32, child: u32) -> Option<End> {
        let process = self
            .processes
            .get(&child)
            .filter(|process| process.parent == parent)?;
        let end = process.end?;
        self.processes.remove(&child);
        Some(end)
    }

    /// Stops all processes, or lets them go on.
    pub(crate) fn set_frozen(&mut self, now: Duration, frozen: bool) {
        self.settle(now);
        self.frozen = frozen;
        if !frozen {
            self.deliver_deferred(now);
            self.wake_all();
        }
    }

    fn wake_all(&mut self) {
        for process in self.processes.values_mut() {
            if let Some(waker) = process.waker.take() {
                waker.wake();
            }
        }
    }
}
