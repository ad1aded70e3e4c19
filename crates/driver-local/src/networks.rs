//! Networks: what `create_network` makes, one JSON file each, `networks/OWNER/NAME.json`.
//!
//! Their bridges, addresses and rules are in the modules below; the host's book of them tells which are taken.
//!
//! A file is linked into place, so that of two racing creates, in whichever processes, one makes it and the other finds it.

pub(crate) mod book;
mod firewall;
pub(crate) mod link;
pub(crate) mod members;
pub(crate) mod outbound;
mod ports;
mod subnet;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use driver_types::{DriverError, Network, NetworkConfig, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::book::{Book, Bridge};
use self::outbound::Outbound;
use crate::DRIVER_NAME;
use crate::containers::{unreadable, unwritable};
use crate::layout::Layout;
use crate::lock::FileLock;
use crate::time::now_ms;
use crate::volumes::names_in;

/// The networks of an owner.
#[derive(Clone, Debug)]
pub(crate) struct Networks {
    all: PathBuf,
    owner: String,
    /// Whether this host can have bridges.
    real: bool,
    /// How the network `default` is made where bridges cannot be.
    outbound: Option<Outbound>,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    config: NetworkConfig,
    network: Network,
}

impl Networks {
    pub(crate) fn new(layout: &Layout, owner: &str, real: bool, outbound: Option<Outbound>) -> Self {
        Self {
            all: layout.networks(),
            owner: owner.to_owned(),
            real,
            outbound,
        }
    }

    /// As long as this is held, no network is removed: what was seen to be there stays, until a container is there that the
    /// removal sees. Waits for removals; whoever holds it must not begin one.
    ///
    /// # Errors
    ///
    /// Those of the state directory.
    pub(crate) fn hold(&self) -> Result<FileLock> {
        self.lock(FlockOperation::LockShared)
    }

    fn lock(&self, operation: FlockOperation) -> Result<FileLock> {
        // Beside the directory, all of whose entries are owners.
        FileLock::wait(&self.all.with_extension("lock"), operation).map_err(|error| unwritable(&error))
    }

    /// The network of this name and spec, and whether it was made by this call.
    ///
    /// # Errors
    ///
    /// `NETWORK_CREATION_FAILED`, permanent, where one of this name has another spec.
    pub(crate) fn create(&self, config: &NetworkConfig) -> Result<(Network, bool)> {
        let id = crate::id::random().map_err(|error| DriverError::internal(error.to_string()))?;
        let mut book = self
            .real
            .then(Book::open)
            .transpose()
            .map_err(|error| unwritable(&error))?;
        let existing = self.read(&self.owner, &config.name)?.is_some();
        let bridge = match &book {
            Some(book) if !existing => Some(self.plan_bridge(book, &id, config)?),
            _ => None,
        };
        let stored = Stored {
            config: config.clone(),
            network: Network {
                id: id.clone(),
                name: config.name.clone(),
                driver: DRIVER_NAME.to_owned(),
                labels: config.labels.clone(),
                created_at: now_ms(),
                internal: config.internal,
                subnet: bridge.as_ref().map(|bridge| bridge.subnet.to_string()),
                gateway: bridge.as_ref().map(|bridge| bridge.subnet.gateway().to_string()),
            },
        };
        loop {
            if self.link(&id, &stored).map_err(|error| unwritable(&error))? {
                if let (Some(book), Some(bridge)) = (&mut book, bridge) {
                    book.pages.bridges.push(bridge);
                    book.save().map_err(|error| unwritable(&error))?;
                }
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

    fn plan_bridge(&self, book: &Book, id: &str, config: &NetworkConfig) -> Result<Bridge> {
        let failed = |message: String| DriverError::network_creation(&config.name, message).permanent();
        let wanted = config
            .subnet
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(failed)?;
        Ok(Bridge {
            name: bridge_name(id),
            subnet: book.free_subnet(wanted).map_err(failed)?,
            internal: config.internal,
            is_default: false,
            anchor: self.path(&self.owner, &config.name),
        })
    }

    /// The default network's, one of a state directory.
    fn default_bridge(&self) -> String {
        let digest = Sha256::digest(self.all.as_os_str().as_encoded_bytes());
        let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        bridge_name(&digits)
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

    /// Removes the files of networks that were not linked into place. Nobody may be making one.
    fn sweep_drafts(&self) -> io::Result<()> {
        for owner in names_in(&self.all).map_err(io::Error::other)? {
            for entry in fs::read_dir(self.all.join(owner))? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(b".new-") {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Removes a network by id or name, and tells its name.
    ///
    /// # Errors
    ///
    /// `NETWORK_NOT_FOUND`; `NETWORK_REMOVE_FAILED` where `user` knows a container that uses it.
    pub(crate) fn remove(&self, id: &str, user: impl Fn(&str) -> Result<Option<String>>) -> Result<String> {
        let _alone = self.lock(FlockOperation::LockExclusive)?;
        let network = self.get(id)?.ok_or_else(|| DriverError::network_not_found(id))?;
        if let Some(user) = user(&network.name)? {
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
        let id = self.read(owner, name)?.map(|stored| stored.network.id);
        match fs::remove_file(self.path(owner, name)) {
            Ok(()) => self.remove_bridge(name, id.as_deref()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(DriverError::network_not_found(name)),
            Err(error) => Err(unwritable(&error)),
        }
    }

    fn remove_bridge(&self, name: &str, id: Option<&str>) -> Result<()> {
        let Some(bridge) = id.filter(|_| self.real).map(bridge_name) else {
            return Ok(());
        };
        let removed = Book::open().and_then(|mut book| {
            let gone: Vec<Bridge> = book.bridge(&bridge).into_iter().collect();
            members::drop_bridges(&mut book, &gone)
        });
        removed.map_err(|error| DriverError::network_remove(name, format!("bridge {bridge} stays: {error}")))
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

/// The bridge of a network: names of interfaces have at most 15 bytes.
fn bridge_name(id: &str) -> String {
    format!("oa-{}", &id[..8])
}
