//! Looking at containers, and waiting for an end.

use driver_types::{
    ContainerFilter, ContainerInstance, ContainerStatus, DriverError, DriverHealth, DriverStatus, ExitInfo,
    ExitReason, HealthStatus, Result, WaitCondition,
};

use crate::container::Container;
use crate::core::Core;
use crate::instance::instance;
use crate::time::now_ms;

pub(crate) fn describe(core: &Core, container: &Container) -> ContainerInstance {
    instance(container, core.health.of(container))
}

pub(crate) fn get_container(core: &Core, id: &str) -> Result<Option<ContainerInstance>> {
    let found = core.containers.get(id)?;
    Ok(found.map(|container| describe(core, &container)))
}

pub(crate) fn list_containers(core: &Core, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
    let found = core.containers.list(filter.all_owners)?;
    let mut by_age: Vec<_> = found.iter().collect();
    by_age.sort_by_key(|container| container.spec.age());
    let described = by_age.into_iter().map(|container| describe(core, container));
    Ok(described.filter(|instance| filter.matches(instance)).collect())
}

/// There is no engine to be reached: what can fail is the state directory and the host.
pub(crate) fn health_check(core: &Core) -> DriverHealth {
    let begin = std::time::Instant::now();
    let error = core.containers.list(false).err().map(|error| error.to_string());
    let kernel = rustix::system::uname();
    DriverHealth {
        status: match error {
            None => DriverStatus::Healthy,
            Some(_) => DriverStatus::Unhealthy,
        },
        checked_at: now_ms(),
        latency_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        engine: Some(format!("Linux {}", kernel.release().to_string_lossy())),
        error,
    }
}

pub(crate) fn is_container_healthy(core: &Core, id: &str) -> Result<bool> {
    let container = core.containers.find(id)?;
    let verdict = core.health.of(&container).map(|health| health.status);
    Ok(container.status() == ContainerStatus::Running && verdict != Some(HealthStatus::Unhealthy))
}

/// Waits until a run has ended, or the container is gone.
pub(crate) async fn wait_container(core: &Core, id: &str, until: WaitCondition) -> Result<ExitInfo> {
    let mut last = core.containers.find(id)?;
    loop {
        // Before the look: what happens meanwhile wakes at once.
        let changed = core.containers.watch(id);
        match core.containers.get(id)? {
            Some(container) => last = container,
            None => return Ok(gone(&last, until)),
        }
        let run = last.story.run.as_ref();
        let exit = run.and_then(|run| run.exit.clone());
        match exit {
            Some(exit) if until == WaitCondition::Exited => return Ok(exit),
            _ if until == WaitCondition::Exited && last.status() == ContainerStatus::Dead => {
                return Ok(unknown(ExitReason::Unknown));
            }
            _ => {}
        }
        if let Some(mut changed) = changed {
            // An error means a change as well: the entry is gone.
            let _ = changed.changed().await;
        }
        if core.is_shut_down() {
            return Err(DriverError::network("the driver was shut down").permanent());
        }
    }
}

/// The answer of a container that is gone.
fn gone(last: &Container, until: WaitCondition) -> ExitInfo {
    let exit = last.story.run.as_ref().and_then(|run| run.exit.clone());
    match exit {
        Some(exit) if until == WaitCondition::Removed && exit.reason != ExitReason::Removed => exit,
        _ => unknown(ExitReason::Removed),
    }
}

fn unknown(reason: ExitReason) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: None,
        reason,
        finished_at: now_ms(),
    }
}
