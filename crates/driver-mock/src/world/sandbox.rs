//! A container of a world: what it was made from, and what becomes of it.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use driver_state::Scope;
use driver_types::{
    ContainerConfig, ContainerInstance, ContainerStatus, Event, EventKind, ExitInfo, ExitReason, Signal,
};
use tokio::sync::Notify;

use super::images::ImageData;
use super::network::Namespace;
use super::{Inner, MainOutput};
use crate::Profile;
use crate::kernel::{End, Environment, Kernel, MountPlan, Pipe, Terminal};
use crate::script::Lie;

/// Why the engine ends a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It does not.
    #[default]
    None,
    Stop,
    Removal,
}

/// What a container was made from, and its kernel.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: Arc<str>,
    pub(crate) owner: Arc<str>,
    pub(crate) config: Arc<ContainerConfig>,
    pub(crate) image: Arc<ImageData>,
    /// The command line of the main process.
    pub(crate) argv: Arc<[String]>,
    /// Its environment.
    pub(crate) env: Arc<Environment>,
    pub(crate) working_dir: Arc<str>,
    pub(crate) hostname: Arc<str>,
    pub(crate) mounts: Arc<MountPlan>,
    pub(crate) kernel: Mutex<Kernel>,
    pub(crate) output: Arc<MainOutput>,
    /// The order of calls on it: first come, first served.
    pub(crate) order: Arc<tokio::sync::Mutex<()>>,
    /// Told whenever its status may have changed.
    pub(crate) changed: Notify,
    /// The stdin and terminal of the current run.
    pub(crate) console: Mutex<Console>,
    /// Numbers its execs.
    pub(crate) execs: AtomicU64,
    /// How its last run ended, known for as long as somebody holds it, even when it is gone.
    pub(crate) last_exit: Mutex<Option<ExitInfo>>,
    /// In epoch milliseconds.
    pub(crate) made_at: u64,
}

/// The stdin and terminal of a main process.
#[derive(Debug, Default)]
pub(crate) struct Console {
    pub(crate) stdin: Option<Arc<Pipe>>,
    pub(crate) terminal: Option<Arc<Terminal>>,
}

impl Container {
    pub(crate) fn console(&self) -> std::sync::MutexGuard<'_, Console> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its main process's program is searched.
    pub(crate) fn path(&self) -> &str {
        let own = self.config.env.get("PATH");
        own.or_else(|| self.image.env.get("PATH"))
            .map_or(DEFAULT_PATH, String::as_str)
    }

    /// Where its sockets live.
    pub(crate) fn namespace(&self) -> Namespace {
        if self.config.network == ContainerConfig::NETWORK_HOST {
            Namespace::Host
        } else {
            Namespace::Container(self.id.to_string())
        }
    }
}

/// Where programs are searched unless the image or the config says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container together with its world.
#[derive(Clone)]
pub(crate) struct Sandbox {
    pub(crate) world: Arc<Inner>,
    pub(crate) container: Arc<Container>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sandbox").field(&self.container.id).finish()
    }
}

impl Sandbox {
    /// Works on the kernel of the container. What follows from it, such as the end of the run, has happened when this
    /// returns.
    pub(crate) fn with_kernel<R>(&self, work: impl FnOnce(&mut Kernel, Duration) -> R) -> R {
        let now = self.world.clock.elapsed();
        let mut kernel = self
            .container
            .kernel
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kernel.now_ms = self.world.clock.at(now);
        let result = work(&mut kernel, now);
        for _ in 0..std::mem::take(&mut kernel.unreported_ooms) {
            self.tell(EventKind::Oom);
        }
        if let Some(end) = kernel.take_ended() {
            self.run_ended(&mut kernel, end);
        }
        result
    }

    /// Tells an event about this container.
    pub(crate) fn tell(&self, kind: EventKind) {
        self.world.events.tell(Some(&self.container.owner), || Event {
            time: self.world.clock.now_ms(),
            container_id: Some(self.container.id.to_string()),
            session_id: Some(self.container.config.session_id.clone()),
            kind: kind.clone(),
        });
    }

    /// How the container is now.
    pub(crate) fn instance(&self) -> Option<Arc<ContainerInstance>> {
        self.world.containers.get(Scope::All, &self.container.id)
    }

    /// The run is over: the books say so before anybody can look.
    fn run_ended(&self, kernel: &mut Kernel, end: End) {
        let exit = self.exit_info(kernel, end);
        if self.container.config.network != ContainerConfig::NETWORK_NONE {
            self.world.switchboard.leave(&self.container.id);
        }
        let console = std::mem::take(&mut *self.container.console());
        if let Some(stdin) = console.stdin {
            stdin.close();
        }
        *self
            .container
            .last_exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(exit.clone());
        let status = if kernel.stopping == Ending::Stop {
            ContainerStatus::Stopped
        } else {
            ContainerStatus::Exited
        };
        let booked = self
            .world
            .containers
            .update(Scope::All, &self.container.id, |container| {
                *container.status = status;
                container.end_run(exit.clone());
            });
        self.container.output.end_run(end.process_exit(false));
        if booked.is_ok() && !self.world.calls.lies(Lie::LoseExitEvents) {
            self.tell(EventKind::Exited { exit });
        }
        self.container.changed.notify_waiters();
    }

    fn exit_info(&self, kernel: &Kernel, end: End) -> ExitInfo {
        let mut code = end.exit_code();
        let signal = match (self.world.profile, end) {
            (_, End::Signal(signal)) => Some(signal),
            // Docker reports a code only: above 128 it is read as a signal.
            (Profile::Docker, End::Code(code)) => Signal::from_exit_code(code),
            (Profile::Local, End::Code(_)) => None,
        };
        let oom = kernel.oom_kills > 0 && !self.world.calls.lies(Lie::HideOom);
        let begun = self
            .instance()
            .and_then(|instance| instance.started_at)
            .unwrap_or(0);
        if self.world.calls.lies(Lie::WrongExitCode) {
            code += 1;
        }
        ExitInfo {
            exit_code: Some(code),
            signal,
            reason: match (kernel.stopping, signal) {
                (Ending::Removal, _) => ExitReason::Removed,
                (Ending::Stop, _) => ExitReason::Stopped,
                _ if oom => ExitReason::Oom,
                (_, Some(_)) => ExitReason::Signaled,
                (_, None) => ExitReason::Exited,
            },
            finished_at: self.world.clock.now_ms().max(begun),
        }
    }
}
