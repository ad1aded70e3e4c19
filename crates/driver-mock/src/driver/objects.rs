//! Volumes and networks.

use driver_types::{
    ContainerConfig, DriverError, EventKind, Network, NetworkConfig, Result, Volume, VolumeConfig,
};

use super::MockDriver;
use crate::fs::Tree;
use crate::kernel::MIB;
use crate::script::Lie;
use crate::world::locked;

impl MockDriver {
    pub(super) fn do_create_volume(&self, config: &VolumeConfig) -> Result<Volume> {
        driver_validation::validate_volume_config(config)?;
        if !self.lies(Lie::AcceptUndeclared) {
            driver_validation::check_volume_capabilities(config, &self.capabilities)?;
        }
        let mut made = None;
        let volume = self.world.volumes.create(&self.owner, &config.name, config, || {
            let volume = Volume {
                id: self.world.new_id(),
                name: config.name.clone(),
                driver: self.world.profile.name().to_owned(),
                labels: config.labels.clone(),
                created_at: self.world.clock.now_ms(),
                size_mib: config.size_mib,
                mountpoint: None,
            };
            // Before anybody can find it by its name.
            let tree = Tree::new(0o777)
                .layer(config.size_mib.map(|size| size * MIB))
                .shared();
            locked(&self.world.volume_trees).insert(volume.id.clone(), tree);
            made = Some(volume.name.clone());
            volume
        })?;
        if let Some(name) = made {
            self.world
                .tell(Some(&self.owner), EventKind::VolumeCreated { name });
        }
        Ok(volume)
    }

    pub(super) fn do_remove_volume(&self, id: &str) -> Result<()> {
        if self.lies(Lie::RemoveVolumesInUse) {
            for user in self.world.volumes.users(self.scope(), id)? {
                self.world.volumes.release(&user);
            }
        }
        let volume = self.world.volumes.remove(self.scope(), id)?;
        locked(&self.world.volume_trees).remove(&volume.id);
        self.world
            .tell(Some(&self.owner), EventKind::VolumeRemoved { name: volume.name });
        Ok(())
    }

    pub(super) fn do_create_network(&self, config: &NetworkConfig) -> Result<Network> {
        driver_validation::validate_network_config(config)?;
        if !self.lies(Lie::AcceptUndeclared) {
            driver_validation::check_network_capabilities(config, &self.capabilities)?;
        }
        let made = self.world.networks.existing(&self.owner, &config.name, config)?;
        if let Some(network) = made {
            return Ok(network);
        }
        let id = self.world.new_id();
        let wanted = config.subnet.as_deref();
        let (subnet, gateway) = self
            .world
            .switchboard
            .add_network(&id, wanted)
            .map_err(|message| {
                let error = DriverError::network_creation(&config.name, message);
                if wanted.is_some() {
                    error.permanent()
                } else {
                    error
                }
            })?;
        let network = self
            .world
            .networks
            .create(&self.owner, &config.name, config, || Network {
                id: id.clone(),
                name: config.name.clone(),
                driver: self.world.profile.name().to_owned(),
                labels: config.labels.clone(),
                created_at: self.world.clock.now_ms(),
                internal: config.internal,
                subnet: Some(subnet),
                gateway: Some(gateway),
            });
        match &network {
            Ok(network) if network.id == id => {
                let name = network.name.clone();
                self.world
                    .tell(Some(&self.owner), EventKind::NetworkCreated { name });
            }
            // Somebody else was faster.
            _ => self.world.switchboard.remove_network(&id),
        }
        network
    }

    pub(super) fn do_remove_network(&self, id: &str) -> Result<()> {
        if self.lies(Lie::RemoveNetworksInUse) {
            for user in self.world.networks.users(self.scope(), id)? {
                self.world.networks.release(&user);
            }
        }
        let network = self.world.networks.remove(self.scope(), id)?;
        self.world.switchboard.remove_network(&network.id);
        self.world.tell(
            Some(&self.owner),
            EventKind::NetworkRemoved { name: network.name },
        );
        Ok(())
    }

    pub(super) fn do_list_volumes(&self) -> Vec<Volume> {
        let mut volumes = self.world.volumes.list(self.scope());
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        volumes
    }

    pub(super) fn do_list_networks(&self) -> Vec<Network> {
        let mut networks = self.world.networks.list(self.scope());
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        networks
    }

    /// The id of a network by the name that a config uses. The default network is made when it is first used.
    pub(super) fn network_id(&self, name: &str) -> std::result::Result<String, String> {
        if name == ContainerConfig::NETWORK_DEFAULT {
            let id = format!("default of {}", self.owner);
            return match self.world.switchboard.has_network(&id) {
                true => Ok(id),
                false => self.world.switchboard.add_network(&id, None).map(|_| id),
            };
        }
        let network = self
            .world
            .networks
            .get(driver_state::Scope::Owner(&self.owner), name);
        network
            .map(|network| network.id)
            .ok_or_else(|| format!("network {name} not found"))
    }
}
