//! A process of the table.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::task::Waker;
use std::time::Duration;

use driver_types::{ProcessExit, Signal};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Privileges, Stdio};
use crate::fs::Credentials;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(Signal),
}

impl End {
    /// As shells and engines report it.
    pub(crate) fn exit_code(self) -> i32 {
        match self {
            Self::Code(code) => code & 0xff,
            Self::Signal(signal) => signal.exit_code(),
        }
    }

    pub(crate) fn process_exit(self, timed_out: bool) -> ProcessExit {
        ProcessExit {
            exit_code: self.exit_code(),
            signal: match self {
                Self::Code(_) => None,
                Self::Signal(signal) => Some(signal),
            },
            timed_out,
        }
    }
}

/// What a process does with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    Ignore,
    /// Tells about it and goes on.
    Trap,
    /// Tells about it and exits.
    TrapExit(i32),
}

/// What a process is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reaps what it inherits, and hands signals on to the main process.
    Init,
    /// Any other.
    Program,
}

/// The variables of a process, put together when it reads them first.
pub(crate) type Environment = LazyLock<Variables, Box<dyn FnOnce() -> Variables + Send>>;

type Variables = BTreeMap<String, String>;

/// An environment that is put together when it is needed.
pub(crate) fn environment(make: impl FnOnce() -> Variables + Send + 'static) -> Arc<Environment> {
    Arc::new(LazyLock::new(Box::new(make)))
}

/// A process to add.
#[derive(Debug)]
pub(crate) struct ProcessSpec {
    /// 0: it comes from outside of the container.
    pub(crate) parent: u32,
    pub(crate) role: Role,
    pub(crate) argv: Arc<[String]>,
    pub(crate) env: Arc<Environment>,
    pub(crate) cwd: Arc<str>,
    pub(crate) privileges: Arc<Privileges>,
    pub(crate) stdio: Stdio,
    /// The exec that it belongs to, with all that it starts; 0: the main process.
    pub(crate) exec: u64,
    pub(crate) dispositions: BTreeMap<Signal, Disposition>,
    /// Bytes.
    pub(crate) memory: u64,
}

/// A living process or a zombie.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) parent: u32,
    pub(crate) role: Role,
    pub(crate) argv: Arc<[String]>,
    pub(crate) env: Arc<Environment>,
    pub(crate) cwd: Arc<str>,
    pub(crate) privileges: Arc<Privileges>,
    pub(crate) stdio: Stdio,
    pub(crate) exec: u64,
    pub(crate) dispositions: BTreeMap<Signal, Disposition>,
    /// Signals that its handlers have not seen yet.
    pub(crate) trapped: VecDeque<Signal>,
    /// Stopped by SIGSTOP or its like.
    pub(crate) stopped: bool,
    pub(crate) umask: u32,
    /// Bytes of its own memory.
    pub(crate) memory: u64,
    /// Threads beside the first.
    pub(crate) threads: u32,
    /// Threads that are busy.
    pub(crate) busy: u32,
    /// Processor time that it got.
    pub(crate) cpu: Duration,
    pub(crate) end: Option<End>,
    pub(crate) waker: Option<Waker>,
    pub(crate) task: Option<AbortHandle>,
    /// Tells the end to whoever waits outside.
    pub(crate) exited: Option<watch::Sender<Option<End>>>,
}

impl Process {
    pub(super) fn new(spec: ProcessSpec) -> Self {
        Self {
            parent: spec.parent,
            role: spec.role,
            argv: spec.argv,
            env: spec.env,
            cwd: spec.cwd,
            privileges: spec.privileges,
            stdio: spec.stdio,
            exec: spec.exec,
            dispositions: spec.dispositions,
            trapped: VecDeque::new(),
            stopped: false,
            umask: 0o022,
            memory: spec.memory,
            threads: 0,
            busy: 0,
            cpu: Duration::ZERO,
            end: None,
            waker: None,
            task: None,
            exited: None,
        }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.privileges.credentials
    }

    /// What remains is a zombie.
    pub(super) fn die(&mut self, end: End) {
        self.end = Some(end);
        self.memory = 0;
        self.threads = 0;
        self.busy = 0;
        self.trapped.clear();
        self.stdio = Stdio::null();
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(exited) = self.exited.take() {
            exited.send_replace(Some(end));
        }
    }
}
