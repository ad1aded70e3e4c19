//! The operations on volumes and networks: checks, events, and who uses what.

use std::sync::Arc;

use driver_types::{EventKind, MountType, Network, NetworkConfig, Result, Volume, VolumeConfig};

use crate::core::Core;

/// Makes a volume, or returns the equal one.
pub(crate) async fn create_volume(core: &Arc<Core>, config: &VolumeConfig) -> Result<Volume> {
    driver_validation::validate_volume_config(config)?;
    driver_validation::check_volume_capabilities(config, &core.capabilities)?;
    let (volume, new) = core.volumes.create(config)?;
    if new {
        let name = volume.name.clone();
        core.containers.publish(None, EventKind::VolumeCreated { name });
    }
    Ok(volume)
}

/// Removes a volume by id or name.
pub(crate) async fn remove_volume(core: &Arc<Core>, id: &str) -> Result<()> {
    let users = core.containers.list(false)?;
    let name = core.volumes.remove(id, |name| {
        let uses = |mount: &driver_types::VolumeMount| {
            mount.effective_type() == MountType::Volume && mount.source == name
        };
        let user = users
            .iter()
            .find(|user| user.spec.config.volumes.iter().any(uses));
        user.map(|user| user.spec.name.clone())
    })?;
    core.containers.publish(None, EventKind::VolumeRemoved { name });
    Ok(())
}

/// Makes a network, or returns the equal one.
pub(crate) async fn create_network(core: &Arc<Core>, config: &NetworkConfig) -> Result<Network> {
    driver_validation::validate_network_config(config)?;
    driver_validation::check_network_capabilities(config, &core.capabilities)?;
    let (network, new) = core.networks.create(config)?;
    if new {
        let name = network.name.clone();
        core.containers.publish(None, EventKind::NetworkCreated { name });
    }
    Ok(network)
}

/// Removes a network by id or name.
pub(crate) async fn remove_network(core: &Arc<Core>, id: &str) -> Result<()> {
    let users = core.containers.list(false)?;
    let name = core.networks.remove(id, |name| {
        let user = users.iter().find(|user| user.spec.config.network == name);
        user.map(|user| user.spec.name.clone())
    })?;
    core.containers.publish(None, EventKind::NetworkRemoved { name });
    Ok(())
}
