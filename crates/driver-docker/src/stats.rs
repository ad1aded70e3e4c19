//! What a container uses.

use std::sync::Arc;

use driver_types::{BoxStream, ContainerStats, DriverError, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn container_stats(engine: &Arc<Engine>, id: &str) -> Result<ContainerStats> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::ContainerStats.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn stream_stats(
    engine: &Arc<Engine>,
    id: &str,
    interval_ms: u64,
) -> Result<BoxStream<ContainerStats>> {
    let _ = (engine, id, interval_ms);
    Err(DriverError::unsupported(
        Operation::StreamStats.name(),
        crate::DRIVER_NAME,
    ))
}
