//! `container_stats` and `stream_stats`: read from the cgroups, one reading a call.

use std::sync::Arc;
use std::time::Duration;

use driver_types::{
    BoxStream, ContainerConfig, ContainerStats, ContainerStatus, DriverError, Operation, Result,
};
use futures_util::stream;
use tokio::time::MissedTickBehavior;

use crate::DRIVER_NAME;
use crate::core::Core;

/// The statuses in which there is something to read.
const ALIVE: [ContainerStatus; 2] = [ContainerStatus::Running, ContainerStatus::Paused];

/// One reading.
pub(crate) fn container_stats(core: &Core, id: &str) -> Result<ContainerStats> {
    let container = core.containers.find(id)?;
    let ended = |status| DriverError::invalid_state(id, status, ALIVE);
    let Some(run) = container.live() else {
        return Err(ended(container.status()));
    };
    let read = core.cgroups.stats(container.cgroup());
    let has_network = container.spec.config.network != ContainerConfig::NETWORK_NONE;
    let network = has_network
        .then(|| core.cgroups.network_stats(run.init.pid))
        .flatten();
    match read {
        Ok(stats) => Ok(ContainerStats {
            network,
            disk_used_bytes: crate::disk::used(&container.dir.disk()),
            ..stats
        }),
        // It ended meanwhile, and its cgroups with it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ended(ContainerStatus::Exited)),
        Err(error) => Err(DriverError::internal(format!(
            "the cgroups cannot be read: {error}"
        ))),
    }
}

/// A reading every `interval_ms`.
pub(crate) fn stream_stats(
    core: &Arc<Core>,
    id: &str,
    interval_ms: u64,
) -> Result<BoxStream<ContainerStats>> {
    driver_validation::validate_stats_interval(interval_ms)?;
    container_stats(core, id)?;
    let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = Some((Arc::clone(core), id.to_owned(), ticks));
    Ok(Box::pin(stream::unfold(state, |state| async move {
        let (core, id, mut ticks) = state?;
        ticks.tick().await;
        match container_stats(&core, &id) {
            Ok(stats) => Some((Ok(stats), Some((core, id, ticks)))),
            // Ended, or removed meanwhile.
            Err(error) if matches!(error.code(), "INVALID_STATE" | "CONTAINER_NOT_FOUND") => None,
            Err(error) => {
                let operation = Operation::StreamStats.name();
                let error = error.with_operation(operation).with_driver(DRIVER_NAME);
                Some((Err(error), None))
            }
        }
    })))
}
