//! Networks: what `create_network` makes, one JSON file each, `networks/OWNER/NAME.json`.
//!
//! A file is linked into place, so that of two racing creates, in whichever processes, one makes it and the other finds it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use driver_types::{DriverError, Network, NetworkConfig, Result};
use serde::{Deserialize, Serialize};

use crate::DRIVER_NAME;
use crate::containers::{unreadable, unwritable};
use crate::layout::Layout;
use crate::time::now_ms;
use crate::volumes::names_in;

/// The networks of an owner.
#[derive(Clone, Debug)]
pub(crate) struct Networks {
    all: PathBuf,
    owner: String,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    config: NetworkConfig,
    network: Network,
}

impl Networks {
    pub(crate) fn new(layout: &Layout, owner: &str) -> Self {
        Self {
            all: layout.networks(),
            owner: owner.to_owned(),
        }
    }

    /// The network of this name and spec, and whether it was made by this call.
    ///
    /// # Errors
    ///
    /// `NETWORK_CREATION_FAILED`, permanent, where one of this name has another spec.
    pub(crate) fn create(&self, config: &NetworkConfig) -> Result<(Network, bool)> {
        let id = crate::id::random().map_err(|error| DriverError::internal(error.to_string()))?;
        let stored = Stored {
            config: config.clone(),
            network: Network {
                id: id.clone(),
                name: config.name.clone(),
                driver: DRIVER_NAME.to_owned(),
                labels: config.labels.clone(),
                created_at: now_ms(),
                internal: config.internal,
                subnet: None,
                gateway: None,
            },
        };
        loop {
            if self.link(&id, &stored).map_err(|error| unwritable(&error))? {
                return Ok((stored.network, true));
            }
            match self.read(&self.owner, &config.name)? {
                Some(found) if found.config == *config => return Ok((found.network, false)),
                Some(_) => {
                    let message = "it exists with another spec; remove it first, or use another name";
                    return Err(DriverError::network_creation(&config.name, message).permanent());
                }
                // Removed in between.
                None => {}
            }
        }
    }

    /// Whether the name was free.
    fn link(&self, id: &str, stored: &Stored) -> io::Result<bool> {
        let directory = self.all.join(&self.owner);
        fs::create_dir_all(&directory)?;
        let fresh = directory.join(format!(".new-{id}"));
        fs::write(&fresh, serde_json::to_vec(stored)?)?;
        let linked = fs::hard_link(&fresh, self.path(&self.owner, &stored.config.name));
        fs::remove_file(fresh)?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a network by id or name, and tells its name.
    ///
    /// # Errors
    ///
    /// `NETWORK_NOT_FOUND`; `NETWORK_REMOVE_FAILED` where `user` knows a container that uses it.
    pub(crate) fn remove(&self, id: &str, user: impl Fn(&str) -> Option<String>) -> Result<String> {
        let network = self.get(id)?.ok_or_else(|| DriverError::network_not_found(id))?;
        if let Some(user) = user(&network.name) {
            let message = format!("container {user} uses it; remove the container first");
            return Err(DriverError::network_remove(id, message));
        }
        self.remove_of(&self.owner, &network.name)?;
        Ok(network.name)
    }

    /// Removes a network of any owner by its name.
    ///
    /// # Errors
    ///
    /// `NETWORK_NOT_FOUND`.
    pub(crate) fn remove_of(&self, owner: &str, name: &str) -> Result<()> {
        match fs::remove_file(self.path(owner, name)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(DriverError::network_not_found(name)),
            Err(error) => Err(unwritable(&error)),
        }
    }

    /// A network by id or name.
    pub(crate) fn get(&self, id: &str) -> Result<Option<Network>> {
        Ok(self
            .list()?
            .into_iter()
            .find(|network| network.id == id || network.name == id))
    }

    /// The owner's networks, by name.
    pub(crate) fn list(&self) -> Result<Vec<Network>> {
        let mut networks = self.of(&self.owner)?;
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// The networks of every owner, with their owners.
    pub(crate) fn of_all_owners(&self) -> Result<Vec<(String, Network)>> {
        let mut found = Vec::new();
        for owner in names_in(&self.all)? {
            found.extend(
                self.of(&owner)?
                    .into_iter()
                    .map(|network| (owner.clone(), network)),
            );
        }
        Ok(found)
    }

    fn of(&self, owner: &str) -> Result<Vec<Network>> {
        let mut found = Vec::new();
        for file in names_in(&self.all.join(owner))? {
            if let Some(name) = file.strip_suffix(".json")
                && let Some(stored) = self.read(owner, name)?
            {
                found.push(stored.network);
            }
        }
        Ok(found)
    }

    fn read(&self, owner: &str, name: &str) -> Result<Option<Stored>> {
        match fs::read(self.path(owner, name)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|error| {
                unreadable(&io::Error::new(ErrorKind::InvalidData, error))
            })?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Names and owners passed validation: they have no `/` and do not begin with a dot.
    fn path(&self, owner: &str, name: &str) -> PathBuf {
        self.all.join(owner).join(format!("{name}.json"))
    }
}
