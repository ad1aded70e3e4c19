//! Whether a container is in a status in which something can be done with its processes.

use driver_types::{ContainerStatus, DriverError, Result};

use crate::engine::Engine;
use crate::wire::Inspect;

/// The status of a container that was just inspected.
pub(crate) fn status(engine: &Engine, inspect: &Inspect) -> ContainerStatus {
    let record = engine.records.get(&inspect.id);
    let memory = record.map(|record| record.memory()).unwrap_or_default();
    crate::instance::status(inspect, &memory)
}

/// Refuses all but a running container.
pub(crate) fn require_running(engine: &Engine, inspect: &Inspect) -> Result<()> {
    require(engine, inspect, &[ContainerStatus::Running])
}

/// Refuses all but a container in one of these statuses.
pub(crate) fn require(engine: &Engine, inspect: &Inspect, allowed: &[ContainerStatus]) -> Result<()> {
    let status = status(engine, inspect);
    if allowed.contains(&status) {
        return Ok(());
    }
    Err(DriverError::invalid_state(&inspect.id, status, allowed))
}
