//! query

use std::sync::Arc;

use driver_types::{ContainerFilter, ContainerInstance, DriverError, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn get_container(engine: &Arc<Engine>, id: &str) -> Result<Option<ContainerInstance>> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::GetContainer.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn list_containers(
    engine: &Arc<Engine>,
    filter: &ContainerFilter,
) -> Result<Vec<ContainerInstance>> {
    let _ = (engine, filter);
    Err(DriverError::unsupported(
        Operation::ListContainers.name(),
        crate::DRIVER_NAME,
    ))
}
