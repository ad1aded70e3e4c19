//! The book of this host's bridges and leases, shared by all drivers of a network namespace and kept under a lock.
//!
//! It is in `/run`, which a boot empties, as it empties the kernel of what the book tells of.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use driver_types::PublishedPort;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::subnet::Subnet;

const DIRECTORY: &str = "/run/openagent-networks";

/// The book, locked until it is dropped.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    pub(crate) pages: Pages,
    _lock: File,
}

/// What is in it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pages {
    pub(crate) bridges: Vec<Bridge>,
    pub(crate) leases: Vec<Lease>,
}

/// A network's bridge; it may not have been made yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) subnet: Subnet,
    pub(crate) internal: bool,
    /// The bridge of a state directory's default network: its members do not reach each other.
    pub(crate) is_default: bool,
    /// The network lives as long as this path.
    pub(crate) anchor: PathBuf,
}

/// What a run of a container has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) bridge: String,
    /// The host's end of the cable. The kernel deletes it with the container's namespace.
    pub(crate) cable: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) ports: Vec<PublishedPort>,
    /// The container's directory.
    pub(crate) container: PathBuf,
    pub(crate) names: Vec<String>,
    /// The container's `hosts` file without the members of the network.
    pub(crate) hosts: String,
}

impl Book {
    /// Waits for the lock; blocks.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn open() -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(DIRECTORY)?;
        let namespace = fs::metadata("/proc/self/ns/net")?.ino();
        let path = Path::new(DIRECTORY).join(format!("{namespace}.json"));
        let lock = File::options()
            .create(true)
            .append(true)
            .open(path.with_extension("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let pages = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Pages::default(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path,
            pages,
            _lock: lock,
        })
    }

    /// Writes it down; a reader finds the old pages or the new ones.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn save(&self) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&self.pages)?)?;
        fs::rename(fresh, &self.path)
    }

    pub(crate) fn bridge(&self, name: &str) -> Option<Bridge> {
        self.pages
            .bridges
            .iter()
            .find(|bridge| bridge.name == name)
            .cloned()
    }

    /// Strikes out the leases of containers that have no network any more.
    pub(crate) fn prune(&mut self) {
        let bridges: Vec<String> = self
            .pages
            .bridges
            .iter()
            .map(|bridge| bridge.name.clone())
            .collect();
        self.pages.leases.retain(|lease| {
            super::link::exists(&lease.cable) && lease.container.exists() && bridges.contains(&lease.bridge)
        });
    }

    /// A subnet that nobody has, or the wanted one unless somebody has a part of it.
    pub(crate) fn free_subnet(&self, wanted: Option<Subnet>) -> Result<Subnet, String> {
        let mut taken =
            super::subnet::routed().map_err(|error| format!("the routes cannot be read: {error}"))?;
        taken.extend(self.pages.bridges.iter().map(|bridge| bridge.subnet));
        let overlap = |subnet: &Subnet| taken.iter().find(|other| other.overlaps(subnet)).copied();
        match wanted {
            Some(subnet) => match overlap(&subnet) {
                Some(other) => Err(format!(
                    "subnet {subnet} overlaps {other}, which this host uses; choose another one"
                )),
                None => Ok(subnet),
            },
            None => super::subnet::pool()
                .find(|subnet| overlap(subnet).is_none())
                .ok_or_else(|| {
                    "all subnets of 10.89.0.0/16 to 10.99.0.0/16 are taken; remove networks or give a subnet"
                        .to_owned()
                }),
        }
    }

    /// An address that no member has.
    pub(crate) fn free_address(&self, bridge: &Bridge) -> Option<Ipv4Addr> {
        bridge
            .subnet
            .members()
            .find(|address| !self.pages.leases.iter().any(|lease| lease.address == *address))
    }
}
