//! networks

use std::sync::Arc;

use driver_types::{DriverError, Network, NetworkConfig, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn create_network(engine: &Arc<Engine>, config: &NetworkConfig) -> Result<Network> {
    let _ = (engine, config);
    Err(DriverError::unsupported(
        Operation::CreateNetwork.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn remove_network(engine: &Arc<Engine>, id: &str) -> Result<()> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::RemoveNetwork.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn list_networks(engine: &Arc<Engine>) -> Result<Vec<Network>> {
    let _ = (engine);
    Err(DriverError::unsupported(
        Operation::ListNetworks.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn get_network(engine: &Arc<Engine>, id: &str) -> Result<Option<Network>> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::GetNetwork.name(),
        crate::DRIVER_NAME,
    ))
}
