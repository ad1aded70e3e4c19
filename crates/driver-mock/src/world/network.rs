//! The networks between containers, and from the host to published ports.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use driver_types::{NetworkStats, PortMapping, PortProtocol, PublishedPort};

use crate::fs::Errno;

/// Where sockets live: a container's own interfaces, or the host's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Namespace {
    Host,
    Container(String),
}

/// All networks of a world.
#[derive(Debug)]
pub(crate) struct Switchboard {
    state: Mutex<State>,
    first_port: u16,
}

#[derive(Debug, Default)]
struct State {
    networks: HashMap<String, Subnet>,
    /// The member that has an address.
    members: HashMap<Ipv4Addr, Member>,
    published: HashMap<(PortProtocol, u16), Publication>,
    /// Who serves, with the process that does.
    listeners: HashMap<(Namespace, PortProtocol, u16), Server>,
    next_port: u16,
    traffic: HashMap<String, NetworkStats>,
}

/// Addresses of a network. The first one is the gateway's.
#[derive(Clone, Copy, Debug)]
struct Subnet {
    first: u32,
    size: u32,
    next: u32,
}

#[derive(Clone, Debug)]
struct Member {
    network: String,
    container: String,
    names: Vec<String>,
}

#[derive(Clone, Debug)]
struct Publication {
    container: String,
    host_ip: String,
    container_port: u16,
}

/// The process that serves a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) container: String,
    pub(crate) pid: u32,
}

/// The end of the range from which engines choose host ports.
const LAST_PORT: u16 = 65_000;

/// The host's own address, beside the loopback.
pub(crate) const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// Names under which a container and its network are known.
pub(crate) struct Join<'a> {
    pub(crate) network: &'a str,
    pub(crate) container: &'a str,
    pub(crate) names: Vec<String>,
}

impl Switchboard {
    pub(crate) fn new(first_port: u16) -> Self {
        Self {
            state: Mutex::default(),
            first_port,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Gives a network its addresses: those asked for (`10.1.2.0/24`), or a free range. Returns the subnet and the
    /// gateway.
    pub(crate) fn add_network(&self, id: &str, subnet: Option<&str>) -> Result<(String, String), String> {
        let mut state = self.lock();
        let (first, bits) = match subnet {
            Some(text) => parse_subnet(text)?,
            None => (0..=u8::MAX)
                .map(|number| (u32::from(Ipv4Addr::new(172, 18, number, 0)), 24))
                .find(|(first, _)| state.overlap(*first, 256).is_none())
                .ok_or("all address ranges are in use; remove a network")?,
        };
        let size = 1u32.checked_shl(32 - bits).unwrap_or(u32::MAX);
        if let Some(other) = state.overlap(first, size) {
            return Err(format!("its subnet overlaps with that of network {other}"));
        }
        state
            .networks
            .insert(id.to_owned(), Subnet { first, size, next: 2 });
        let address = |number| Ipv4Addr::from(number).to_string();
        Ok((format!("{}/{bits}", address(first)), address(first + 1)))
    }

    pub(crate) fn has_network(&self, id: &str) -> bool {
        self.lock().networks.contains_key(id)
    }

    pub(crate) fn remove_network(&self, id: &str) {
        self.lock().networks.remove(id);
    }

    /// Makes a container a member of a network, and returns its address.
    pub(crate) fn join(&self, join: Join<'_>) -> Result<Ipv4Addr, String> {
        let mut state = self.lock();
        let State {
            networks, members, ..
        } = &mut *state;
        let subnet = networks.get_mut(join.network).ok_or("its network is gone")?;
        let usable = subnet.size.saturating_sub(3);
        for _ in 0..usable {
            let address = Ipv4Addr::from(subnet.first + subnet.next);
            subnet.next = if subnet.next >= subnet.size - 2 {
                2
            } else {
                subnet.next + 1
            };
            if let Entry::Vacant(free) = members.entry(address) {
                free.insert(Member {
                    network: join.network.to_owned(),
                    container: join.container.to_owned(),
                    names: join.names,
                });
                return Ok(address);
            }
        }
        Err("its network has no free address".to_owned())
    }

    /// Publishes ports, all or none.
    pub(crate) fn publish(
        &self,
        container: &str,
        ports: &[PortMapping],
    ) -> Result<Vec<PublishedPort>, String> {
        let mut state = self.lock();
        let mut published = Vec::with_capacity(ports.len());
        for port in ports {
            let protocol = port.effective_protocol();
            let host_port = match port.host_port {
                Some(wanted) if wanted != 0 => {
                    if state.published.contains_key(&(protocol, wanted)) {
                        state.unpublish(container);
                        let host_ip = port.effective_host_ip();
                        return Err(format!(
                            "bind for {host_ip}:{wanted} failed: port is already allocated"
                        ));
                    }
                    wanted
                }
                _ => match state.free_port(protocol, self.first_port) {
                    Some(port) => port,
                    None => {
                        state.unpublish(container);
                        return Err("all host ports are in use".to_owned());
                    }
                },
            };
            let publication = Publication {
                container: container.to_owned(),
                host_ip: port.effective_host_ip().to_owned(),
                container_port: port.container_port,
            };
            published.push(PublishedPort {
                container_port: port.container_port,
                host_port,
                host_ip: publication.host_ip.clone(),
                protocol,
            });
            state.published.insert((protocol, host_port), publication);
        }
        Ok(published)
    }

    /// Takes everything of a container away: addresses, ports, servers.
    pub(crate) fn leave(&self, container: &str) {
        let mut state = self.lock();
        state.members.retain(|_, member| member.container != container);
        state.unpublish(container);
        state.listeners.retain(|_, server| server.container != container);
        state.traffic.remove(container);
    }

    /// Binds a port in a namespace.
    pub(crate) fn listen(
        &self,
        namespace: Namespace,
        protocol: PortProtocol,
        port: u16,
        server: Server,
    ) -> Result<(), Errno> {
        let mut state = self.lock();
        let taken_by_engine = namespace == Namespace::Host && state.published.contains_key(&(protocol, port));
        let key = (namespace, protocol, port);
        if taken_by_engine || state.listeners.contains_key(&key) {
            return Err(Errno("EADDRINUSE"));
        }
        state.listeners.insert(key, server);
        Ok(())
    }

    /// The server that a connection of `from` reaches at an address.
    pub(crate) fn reach(
        &self,
        from: &Namespace,
        address: Ipv4Addr,
        protocol: PortProtocol,
        port: u16,
        ignore_isolation: bool,
    ) -> Result<Server, Errno> {
        let state = self.lock();
        let refused = Errno("ECONNREFUSED");
        let to = if address.is_loopback() || address.is_unspecified() {
            from.clone()
        } else if let Some(member) = state.members.get(&address) {
            let near = match from {
                // The host has an interface in every bridge.
                Namespace::Host => true,
                Namespace::Container(id) => state.has_member(&member.network, id),
            };
            if !near && !ignore_isolation {
                return Err(state.unreachable(from));
            }
            Namespace::Container(member.container.clone())
        } else if address == HOST_ADDRESS && *from == Namespace::Host {
            Namespace::Host
        } else {
            return Err(state.unreachable(from));
        };
        if to == Namespace::Host
            && let Some(publication) = state.published.get(&(protocol, port))
        {
            let key = (
                Namespace::Container(publication.container.clone()),
                protocol,
                publication.container_port,
            );
            let bound = publication
                .host_ip
                .parse::<Ipv4Addr>()
                .map_or(true, |ip| ip.is_unspecified() || ip == address);
            return if bound {
                state.listeners.get(&key).cloned().ok_or(refused)
            } else {
                Err(refused)
            };
        }
        state.listeners.get(&(to, protocol, port)).cloned().ok_or(refused)
    }

    /// The addresses of a name, as a container in these networks sees it.
    pub(crate) fn resolve(&self, container: &str, name: &str) -> Vec<Ipv4Addr> {
        let state = self.lock();
        let near = |member: &Member| {
            state.has_member(&member.network, container) && member.names.iter().any(|known| known == name)
        };
        let mut found: Vec<Ipv4Addr> = state
            .members
            .iter()
            .filter(|(_, member)| near(member))
            .map(|(address, _)| *address)
            .collect();
        found.sort_unstable();
        found
    }

    /// Counts what went from one container to another.
    pub(crate) fn count_traffic(&self, from: &str, to: &str, bytes: u64) {
        let mut state = self.lock();
        let sender = state.traffic.entry(from.to_owned()).or_default();
        sender.tx_bytes += bytes;
        sender.tx_packets += 1;
        let receiver = state.traffic.entry(to.to_owned()).or_default();
        receiver.rx_bytes += bytes;
        receiver.rx_packets += 1;
    }

    pub(crate) fn traffic(&self, container: &str) -> NetworkStats {
        self.lock().traffic.get(container).cloned().unwrap_or_default()
    }
}

impl State {
    fn overlap(&self, first: u32, size: u32) -> Option<&str> {
        let end = u64::from(first) + u64::from(size);
        self.networks
            .iter()
            .find(|(_, other)| {
                u64::from(other.first) < end
                    && u64::from(first) < u64::from(other.first) + u64::from(other.size)
            })
            .map(|(id, _)| id.as_str())
    }

    fn has_member(&self, network: &str, container: &str) -> bool {
        self.members
            .values()
            .any(|member| member.network == network && member.container == container)
    }

    /// What a container without a route, or with one that leads nowhere, is told.
    fn unreachable(&self, from: &Namespace) -> Errno {
        let routed = match from {
            Namespace::Host => true,
            Namespace::Container(id) => self.members.values().any(|member| member.container == *id),
        };
        // Other bridges are behind a firewall that drops: connections time out.
        if routed {
            Errno("ETIMEDOUT")
        } else {
            Errno("ENETUNREACH")
        }
    }

    fn free_port(&mut self, protocol: PortProtocol, first: u16) -> Option<u16> {
        let last = LAST_PORT.max(first);
        for _ in first..=last {
            let port = self.next_port.clamp(first, last);
            self.next_port = if port == last { first } else { port + 1 };
            let key = (Namespace::Host, protocol, port);
            if !self.published.contains_key(&(protocol, port)) && !self.listeners.contains_key(&key) {
                return Some(port);
            }
        }
        None
    }

    fn unpublish(&mut self, container: &str) {
        self.published
            .retain(|_, publication| publication.container != container);
    }
}

fn parse_subnet(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("`{text}` is not an IPv4 subnet; write it like 10.1.2.0/24");
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let bits: u32 = bits
        .parse()
        .ok()
        .filter(|bits| (8..=30).contains(bits))
        .ok_or_else(wrong)?;
    Ok((u32::from(address) & (u32::MAX << (32 - bits)), bits))
}

/// What is left, for tests of leaks.
impl Switchboard {
    /// The containers that have an address, a published port or a server.
    pub(crate) fn connected(&self) -> BTreeSet<String> {
        let state = self.lock();
        let members = state.members.values().map(|member| &member.container);
        let published = state.published.values().map(|publication| &publication.container);
        let serving = state.listeners.values().map(|server| &server.container);
        members.chain(published).chain(serving).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(container: &str) -> Server {
        Server {
            container: container.into(),
            pid: 1,
        }
    }

    fn join(board: &Switchboard, network: &str, container: &str) -> Ipv4Addr {
        let names = vec![format!("{container}-name")];
        board
            .join(Join {
                network,
                container,
                names,
            })
            .unwrap()
    }

    #[test]
    fn members_reach_each_other_and_nobody_else() {
        let board = Switchboard::new(49_153);
        board.add_network("n1", None).unwrap();
        board.add_network("n2", Some("10.1.2.0/24")).unwrap();
        let a = join(&board, "n1", "a");
        join(&board, "n1", "b");
        join(&board, "n2", "c");
        let space = |id: &str| Namespace::Container(id.into());
        board
            .listen(space("a"), PortProtocol::Tcp, 80, server("a"))
            .unwrap();
        let reach = |from: &str| board.reach(&space(from), a, PortProtocol::Tcp, 80, false);
        assert_eq!(reach("b"), Ok(server("a")));
        assert_eq!(reach("c"), Err(Errno("ETIMEDOUT")));
        assert_eq!(reach("nobody"), Err(Errno("ENETUNREACH")));
        assert_eq!(
            board.reach(&space("b"), a, PortProtocol::Udp, 80, false),
            Err(Errno("ECONNREFUSED"))
        );
        assert_eq!(board.resolve("b", "a-name"), [a]);
        assert!(board.resolve("c", "a-name").is_empty());
        board.leave("a");
        assert_eq!(reach("b"), Err(Errno("ETIMEDOUT")));
    }

    #[test]
    fn ports_are_published_all_or_none() {
        let board = Switchboard::new(8080);
        let first = board.publish("a", &[PortMapping::tcp(80)]).unwrap();
        assert_eq!(first[0].host_port, 8080);
        let taken = [PortMapping::tcp(1), PortMapping::tcp(2).host_port(8080)];
        assert!(board.publish("b", &taken).unwrap_err().contains("8080"));
        assert_eq!(board.connected(), BTreeSet::from(["a".to_owned()]));
        board.leave("a");
        assert!(board.connected().is_empty());
    }

    #[test]
    fn subnets_do_not_overlap() {
        let board = Switchboard::new(1);
        board.add_network("a", Some("10.0.0.0/8")).unwrap();
        assert!(board.add_network("b", Some("10.9.0.0/16")).is_err());
        assert!(board.add_network("c", Some("10.9.0.0")).is_err());
        board.remove_network("a");
        assert_eq!(
            board.add_network("b", Some("10.9.0.0/16")).unwrap(),
            ("10.9.0.0/16".into(), "10.9.0.1".into())
        );
    }
}
