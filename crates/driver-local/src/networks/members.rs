//! Joining a network and leaving it.

use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use driver_local_shim::{NetworkHelper, NetworkNamespace};
use driver_types::{ContainerConfig, DriverError, NetworkAddress, PublishedPort, Result};

use super::book::{Book, Bridge, Lease, Pages};
use super::{Networks, bridge_name, firewall, link, ports};
use crate::container::Container;
use crate::containers::unwritable;
use crate::etc;
use crate::launch::hostname;

/// The network of a run that is about to begin.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(super) reach: Reach,
    pub(crate) address: NetworkAddress,
    pub(crate) ports: Vec<PublishedPort>,
}

impl Membership {
    /// What the shim is told. It finds a namespace as long as this lives.
    pub(crate) fn namespace(&self) -> NetworkNamespace {
        match &self.reach {
            Reach::Bridge(namespace) => {
                let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
                NetworkNamespace::Path(path)
            }
            Reach::Helper(helper) => NetworkNamespace::Helper(helper.clone()),
        }
    }
}

/// What connects it.
#[derive(Debug)]
pub(super) enum Reach {
    /// A cable from this namespace to a bridge.
    Bridge(File),
    /// A program in user space.
    Helper(NetworkHelper),
}

/// Whether a container is in a network: one with an address, of its own or of others too.
pub(crate) fn is_member(config: &ContainerConfig) -> bool {
    !matches!(
        config.network.as_str(),
        ContainerConfig::NETWORK_NONE | ContainerConfig::NETWORK_HOST
    )
}

impl Networks {
    /// Gives a run its place in its network; `None` where it has none of its own. Blocks.
    ///
    /// # Errors
    ///
    /// `CONTAINER_START_FAILED`, which names a port that is taken.
    pub(crate) fn join(&self, container: &Container) -> Result<Option<Membership>> {
        if !is_member(&container.spec.config) {
            return Ok(None);
        }
        let network = container.spec.config.network.as_str();
        if let Some(outbound) = &self.outbound {
            return outbound.join(container).map(Some);
        }
        let failed = |message: String| DriverError::container_start(container.id(), message);
        let mut book = Book::open().map_err(|error| unwritable(&error))?;
        strike(&mut book, container.dir.path());
        let bridge = self.bridge(&mut book, network)?;
        let ports = ports::assign(&book.pages, &container.spec.config).map_err(failed)?;
        let address = book.free_address(&bridge).ok_or_else(|| {
            failed(format!(
                "network {network} has no free address in {}",
                bridge.subnet
            ))
        })?;
        let membership = connect(&mut book, &bridge, container, address, ports);
        match membership {
            Ok(membership) => Ok(Some(membership)),
            Err(error) => {
                strike(&mut book, container.dir.path());
                let undone = settle(&book, &bridge.name);
                if let Err(error) = undone {
                    tracing::warn!(container = container.id(), %error, "its place in the network stays for recover");
                }
                Err(failed(format!("network {network} cannot be joined: {error}")))
            }
        }
    }

    /// Takes away what a run had. Can be repeated. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the book and the firewall.
    pub(crate) fn leave(container: &Path) -> io::Result<()> {
        let mut book = Book::open()?;
        let Some(lease) = book
            .pages
            .leases
            .iter()
            .find(|lease| lease.container == container)
        else {
            return Ok(());
        };
        let bridge = lease.bridge.clone();
        strike(&mut book, container);
        settle(&book, &bridge)
    }

    /// Removes bridges of networks that are gone, default ones without members, and drafts of makers that died. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the book, the links and the firewall.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let mut book = Book::open()?;
        // Who makes a network has the book.
        self.sweep_drafts()?;
        book.prune();
        let own = self.default_bridge();
        let used =
            |pages: &Pages, bridge: &Bridge| pages.leases.iter().any(|lease| lease.bridge == bridge.name);
        let gone: Vec<Bridge> = book
            .pages
            .bridges
            .iter()
            .filter(|bridge| !bridge.anchor.exists() || (bridge.name == own && !used(&book.pages, bridge)))
            .cloned()
            .collect();
        drop_bridges(&mut book, &gone)
    }

    /// The bridge of a network, in the book from now on.
    fn bridge(&self, book: &mut Book, network: &str) -> Result<Bridge> {
        if network == ContainerConfig::NETWORK_DEFAULT {
            let name = self.default_bridge();
            if let Some(bridge) = book.bridge(&name) {
                return Ok(bridge);
            }
            let subnet = book
                .free_subnet(None)
                .map_err(|message| DriverError::network_creation(network, message))?;
            let bridge = Bridge {
                name,
                subnet,
                internal: false,
                is_default: true,
                anchor: self.all.clone(),
            };
            book.pages.bridges.push(bridge.clone());
            return Ok(bridge);
        }
        let found = self
            .get(network)?
            .ok_or_else(|| DriverError::network_not_found(network))?;
        let name = bridge_name(&found.id);
        if let Some(bridge) = book.bridge(&name) {
            return Ok(bridge);
        }
        // The machine was started anew since it was made.
        let failed = |message: String| DriverError::network_creation(network, message);
        let wanted = found
            .subnet
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(failed)?;
        let bridge = Bridge {
            name,
            subnet: book.free_subnet(wanted).map_err(failed)?,
            internal: found.internal,
            is_default: false,
            anchor: self.path(&self.owner, &found.name),
        };
        book.pages.bridges.push(bridge.clone());
        Ok(bridge)
    }
}

fn connect(
    book: &mut Book,
    bridge: &Bridge,
    container: &Container,
    address: Ipv4Addr,
    ports: Vec<PublishedPort>,
) -> io::Result<Membership> {
    let spec = &container.spec;
    // Not of the id: the cable of the run before may still be there.
    let cable = format!("oav{}", &crate::id::random()?[..10]);
    let mut names = vec![spec.name.clone(), spec.id[..12].to_owned()];
    if !names.iter().any(|name| name == hostname(spec)) {
        names.push(hostname(spec).to_owned());
    }
    book.pages.leases.push(Lease {
        bridge: bridge.name.clone(),
        cable: cable.clone(),
        address,
        ports: ports.clone(),
        container: container.dir.path().to_owned(),
        names,
        hosts: etc::hosts(spec),
    });
    // Before the first packet.
    link::ensure_bridge(bridge)?;
    settle(book, &bridge.name)?;
    Ok(Membership {
        reach: Reach::Bridge(link::attach(bridge, &cable, address)?),
        address: NetworkAddress {
            network: spec.config.network.clone(),
            ip: address.to_string(),
        },
        ports,
    })
}

fn strike(book: &mut Book, container: &Path) {
    book.prune();
    book.pages.leases.retain(|lease| lease.container != container);
}

/// Writes the book down, and makes the rules and the names of the members agree with it.
fn settle(book: &Book, bridge: &str) -> io::Result<()> {
    book.save()?;
    firewall::apply(&book.pages)?;
    let is_default = book.bridge(bridge).is_some_and(|bridge| bridge.is_default);
    let members: Vec<&Lease> = book
        .pages
        .leases
        .iter()
        .filter(|lease| lease.bridge == bridge)
        .collect();
    for member in &members {
        let known = members
            .iter()
            .filter(|other| !is_default || other.address == member.address);
        let lines: String = known
            .map(|known| format!("{}\t{}\n", known.address, known.names.join(" ")))
            .collect();
        match in_place(
            &member.container.join("etc/hosts"),
            &format!("{}{lines}", member.hosts),
        ) {
            // It is being removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            written => written?,
        }
    }
    Ok(())
}

/// The same inode: it is mounted in the container.
pub(super) fn in_place(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Removes bridges from the book and the kernel.
pub(super) fn drop_bridges(book: &mut Book, gone: &[Bridge]) -> io::Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    for bridge in gone {
        link::remove(&bridge.name)?;
        book.pages.bridges.retain(|other| other.name != bridge.name);
    }
    book.prune();
    book.save()?;
    firewall::apply(&book.pages)
}
