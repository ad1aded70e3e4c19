//! `exec`, `exec_stream`, `attach` and the runs of health checks: the core's side of them.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;
use driver_exec_guard::client;
use driver_types::{
    Capability, ContainerStatus, DriverError, EventKind, ExecResult, ExecSpec, ExitInfo, HealthStatus,
    ProcessHandle, Result, Signal, Violation, WaitCondition,
};

use crate::attach::{self, MainProcess};
use crate::container::Container;
use crate::core::Core;
use crate::exec;
use crate::healthcheck::CheckedRun;
use crate::prepare::Start;
use crate::time::now_ms;
use crate::{launch, lifecycle, logs, query};

/// Runs a process and collects what it writes. Dropping this future drops the handle, and that ends the tree.
pub(crate) async fn exec(core: &Arc<Core>, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
    driver_validation::validate_exec_spec(spec)?;
    let started = Instant::now();
    let handle = start(core, id, spec).await?;
    client::collect(handle, spec, started).await
}

/// Starts a process and returns a handle on it.
pub(crate) async fn exec_stream(core: &Arc<Core>, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
    driver_validation::validate_exec_stream_spec(spec)?;
    start(core, id, spec).await
}

async fn start(core: &Arc<Core>, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
    driver_validation::check_exec_capabilities(spec, &core.capabilities)?;
    let container = core.containers.find(id)?;
    refuse_user(core, &container, spec)?;
    let task = launch::exec_task(core, &container, spec)?;
    let _under_way = Start::of_exec(core, &task);
    exec::start(&core.shim, id, task, spec, ended(core, id)).await
}

/// Where all processes have one id, it is that of the container's user.
fn refuse_user(core: &Core, container: &Container, spec: &ExecSpec) -> Result<()> {
    let own = &container.spec.config.security.user;
    let Some(user) = spec.user.as_ref().filter(|user| *user != own) else {
        return Ok(());
    };
    let support = core.capabilities.get(Capability::User);
    if support.is_supported() {
        return Ok(());
    }
    let reason = support.reason.unwrap_or_default();
    let message = format!("`{user}` needs the capability `user`, which the driver lacks: {reason}");
    let violation = Violation::new("/user", message).with_hint(format!("leave it out: the user is {own}"));
    Err(DriverError::violations(vec![violation]))
}

/// Waits until a container does not run any more, and gives the refusal that follows.
async fn ended(core: &Core, id: &str) -> DriverError {
    loop {
        let changed = core.containers.watch(id);
        let now = core.containers.find(id);
        if let Err(error) = now.and_then(|now| now.running().map(drop)) {
            return error;
        }
        if let Some(mut changed) = changed {
            // An error means a change as well: the entry is gone.
            let _ = changed.changed().await;
        }
    }
}

/// A handle on the main process.
pub(crate) async fn attach(core: &Arc<Core>, id: &str) -> Result<ProcessHandle> {
    let container = core.containers.find(id)?;
    let allowed = [
        ContainerStatus::Created,
        ContainerStatus::Running,
        ContainerStatus::Paused,
    ];
    let status = container.status();
    if !allowed.contains(&status) {
        return Err(DriverError::invalid_state(id, status, allowed));
    }
    let frames = logs::follow_from_end(core, id).await?;
    let process = Main {
        core: Arc::clone(core),
        id: id.to_owned(),
    };
    Ok(attach::handle(
        id,
        container.spec.config.tty,
        Arc::new(process),
        frames,
    ))
}

/// The main process of a container.
#[derive(Debug)]
struct Main {
    core: Arc<Core>,
    id: String,
}

impl Main {
    fn live(&self) -> Result<Container> {
        let container = self.core.containers.find(&self.id)?;
        if container.live().is_some() {
            return Ok(container);
        }
        let allowed = [ContainerStatus::Running, ContainerStatus::Paused];
        Err(DriverError::invalid_state(&self.id, container.status(), allowed))
    }
}

#[async_trait]
impl MainProcess for Main {
    async fn started(&self) -> Result<()> {
        loop {
            let changed = self.core.containers.watch(&self.id);
            let container = self.core.containers.find(&self.id)?;
            match changed {
                Some(mut changed) if container.status() == ContainerStatus::Created => {
                    let _ = changed.changed().await;
                }
                _ => return Ok(()),
            }
        }
    }

    fn is_alive(&self) -> Result<bool> {
        let container = self.core.containers.get(&self.id)?;
        Ok(container.is_some_and(|container| container.live().is_some()))
    }

    fn stdin(&self) -> Result<Option<OwnedFd>> {
        let container = self.live()?;
        let config = &container.spec.config;
        if !config.stdin && !config.tty {
            return Ok(None);
        }
        match driver_local_shim::attach(container.dir.path()) {
            Ok(stdin) => Ok(Some(stdin)),
            // It was closed.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(None),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn close_stdin(&self) -> Result<()> {
        let container = self.live()?;
        driver_local_shim::close_stdin(container.dir.path()).map_err(|error| self.unreachable(&error))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        lifecycle::signal_container(&self.core, &self.id, signal)
    }

    async fn wait(&self) -> Result<ExitInfo> {
        query::wait_container(&self.core, &self.id, WaitCondition::Exited).await
    }
}

impl Main {
    /// The shim does not answer: with its container it is about to end.
    fn unreachable(&self, error: &std::io::Error) -> DriverError {
        match self.live() {
            Err(ended) => ended,
            Ok(_) => DriverError::internal(format!("the shim does not answer: {error}")),
        }
    }
}

/// Begins the health checks of a run.
pub(crate) fn begin_checks(core: &Arc<Core>, container: &Container) {
    let Some(run) = container.live() else { return };
    let checked = Checked {
        core: Arc::downgrade(core),
        container: container.clone(),
        run: run.number,
    };
    core.health.begin(container, checked);
}

/// A run whose health is checked.
struct Checked {
    core: Weak<Core>,
    container: Container,
    run: u32,
}

#[async_trait]
impl CheckedRun for Checked {
    async fn exec(&self, spec: &ExecSpec) -> Result<ExecResult> {
        let core = self
            .core
            .upgrade()
            .ok_or_else(|| DriverError::internal("the driver is gone"))?;
        // A start that was quick enough would have its health judged by the check of the run before.
        let now = core.containers.find(self.container.id())?;
        if now.running()?.number != self.run {
            return Err(DriverError::invalid_state(
                self.container.id(),
                ContainerStatus::Exited,
                [ContainerStatus::Running],
            ));
        }
        exec(&core, self.container.id(), spec).await
    }

    async fn ended(&self) {
        loop {
            let changed = {
                let Some(core) = self.core.upgrade() else { return };
                let changed = core.containers.watch(self.container.id());
                let now = core.containers.get(self.container.id()).ok().flatten();
                let lives = now.is_some_and(|now| now.live().is_some_and(|run| run.number == self.run));
                changed.filter(|_| lives)
            };
            match changed {
                Some(mut changed) => {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    fn changed(&self, status: HealthStatus) {
        if let Some(core) = self.core.upgrade() {
            core.containers
                .publish(Some(&self.container.spec), EventKind::Health { status });
        }
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }
}
