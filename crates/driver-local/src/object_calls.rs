//! The operations on volumes and networks: checks, events, and who uses what.

use std::sync::Arc;

use driver_types::{EventKind, MountType, Network, NetworkConfig, Result, Volume, VolumeConfig, VolumeMount};

use crate::core::{Core, blocking};

/// Makes a volume, or returns the equal one.
pub(crate) async fn create_volume(core: &Arc<Core>, config: &VolumeConfig) -> Result<Volume> {
    driver_validation::validate_volume_config(config)?;
    driver_validation::check_volume_capabilities(config, &core.capabilities)?;
    let (volumes, wanted) = (core.volumes.clone(), config.clone());
    let (volume, new) = blocking(move || volumes.create(&wanted)).await?;
    if new {
        let name = volume.name.clone();
        core.containers.publish(None, EventKind::VolumeCreated { name });
    }
    Ok(volume)
}

/// Removes a volume by id or name.
pub(crate) async fn remove_volume(core: &Arc<Core>, id: &str) -> Result<()> {
    let (holder, id) = (Arc::clone(core), id.to_owned());
    let removed = blocking(move || {
        let owner = &holder.owner;
        holder
            .volumes
            .remove(&id, |name| user_of_volume(&holder, owner, name))
    });
    let name = removed.await?;
    core.containers.publish(None, EventKind::VolumeRemoved { name });
    Ok(())
}

/// The name of a container that uses a volume.
pub(crate) fn user_of_volume(core: &Core, owner: &str, volume: &str) -> Result<Option<String>> {
    let uses = |mount: &VolumeMount| mount.effective_type() == MountType::Volume && mount.source == volume;
    core.containers.user(true, |spec| {
        spec.owner == owner && spec.config.volumes.iter().any(uses)
    })
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
    let (holder, id) = (Arc::clone(core), id.to_owned());
    let removed = blocking(move || {
        holder.networks.remove(&id, |name| {
            holder.containers.user(false, |spec| spec.config.network == name)
        })
    });
    let name = removed.await?;
    core.containers.publish(None, EventKind::NetworkRemoved { name });
    Ok(())
}
