//! health

use std::sync::Arc;

use driver_types::{DriverError, DriverHealth, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn health_check(engine: &Arc<Engine>) -> Result<DriverHealth> {
    let _ = (engine);
    Err(DriverError::unsupported(
        Operation::HealthCheck.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn is_container_healthy(engine: &Arc<Engine>, id: &str) -> Result<bool> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::IsContainerHealthy.name(),
        crate::DRIVER_NAME,
    ))
}
