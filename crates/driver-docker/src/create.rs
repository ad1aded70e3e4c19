//! create

use std::sync::Arc;

use driver_types::{ContainerConfig, ContainerInstance, DriverError, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn create_container(
    engine: &Arc<Engine>,
    config: &ContainerConfig,
) -> Result<ContainerInstance> {
    let _ = (engine, config);
    Err(DriverError::unsupported(
        Operation::CreateContainer.name(),
        crate::DRIVER_NAME,
    ))
}
