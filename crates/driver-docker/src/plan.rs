//! plan

use std::sync::Arc;

use driver_types::{ContainerConfig, DriverError, Operation, Plan, Result};

use crate::engine::Engine;

pub(crate) async fn plan(engine: &Arc<Engine>, config: &ContainerConfig) -> Result<Plan> {
    let _ = (engine, config);
    Err(DriverError::unsupported(
        Operation::Plan.name(),
        crate::DRIVER_NAME,
    ))
}
