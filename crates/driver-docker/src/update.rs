//! update

use std::sync::Arc;

use driver_types::{DriverError, Operation, ResourceLimits, Result};

use crate::engine::Engine;

pub(crate) async fn update_resources(engine: &Arc<Engine>, id: &str, limits: &ResourceLimits) -> Result<()> {
    let _ = (engine, id, limits);
    Err(DriverError::unsupported(
        Operation::UpdateResources.name(),
        crate::DRIVER_NAME,
    ))
}
