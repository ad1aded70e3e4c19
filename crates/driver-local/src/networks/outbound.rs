//! The network `default` of a driver that is not root: a program in user space carries the packets of each container.
//!
//! The program sends from sockets of the host, so that it would reach what the host's user reaches. What a bridge's firewall
//! keeps from containers is kept from these by routes in their own network namespace; so they cannot have the
//! Linux capabilities to get around them.

use std::fs::File;
use std::net::{AddrParseError, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use driver_local_shim::{NetworkHelper, UdpPort, UserNamespace};
use driver_types::{
    ContainerConfig, DriverError, LinuxCapabilities, NetworkAddress, PortProtocol, PublishedPort, Result,
    Support, Violation,
};
use nix::ifaddrs::getifaddrs;

use super::book::Pages;
use super::members::{Membership, Reach, in_place};
use super::ports;
use crate::container::Container;
use crate::containers::unwritable;
use crate::etc;
use crate::launch::hostname;

/// The network that each container has for itself, and its place in it. That of `slirp4netns`.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
const GATEWAY: &str = "10.0.2.2";
const PREFIX: &str = "24";
const INTERFACE: &str = "eth0";

/// With these a process could change the routes, or send past them.
const REFUSED: [&str; 2] = ["NET_ADMIN", "NET_RAW"];

/// What no container reaches: link-local addresses, of which one is the metadata of clouds, and multicast, which the host hears.
const UNREACHABLE: [(Ipv4Addr, u8); 2] = [
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
];

const TUN: &str = "/dev/net/tun";

/// The programs that there are for it, the better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Pasta,
    Slirp4netns,
}

impl Tool {
    const ALL: [Self; 2] = [Self::Pasta, Self::Slirp4netns];

    fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }
}

/// How containers get out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outbound {
    tool: Tool,
    program: PathBuf,
    /// Whether containers have a root in their user namespace.
    has_root: bool,
}

impl Outbound {
    /// Looks for a program in these directories.
    ///
    /// # Errors
    ///
    /// What is missing, and the remedy.
    pub(crate) fn look(directories: &[PathBuf], user: &UserNamespace) -> Result<Self, String> {
        let find = |tool: Tool| {
            let mut paths = directories.iter().map(|directory| directory.join(tool.name()));
            Some((tool, paths.find(|path| path.is_absolute() && path.is_file())?))
        };
        let Some((tool, program)) = Tool::ALL.into_iter().find_map(find) else {
            return Err(
                "neither `pasta` nor `slirp4netns` is in PATH; install passt or slirp4netns".to_owned(),
            );
        };
        if let Err(error) = File::options().read(true).write(true).open(TUN) {
            return Err(format!(
                "{TUN} cannot be opened ({error}); as root: `modprobe tun`, `chmod 666 {TUN}`"
            ));
        }
        Ok(Self {
            tool,
            program,
            has_root: user.uids.iter().any(|map| map.inside == 0 && map.count > 0),
        })
    }

    /// How good the network is.
    pub(crate) fn support(&self) -> Support {
        Support::emulated(format!(
            "by {}, in user space and over IPv4: to others it is the host that sends; {} are refused",
            self.tool.name(),
            REFUSED.join(" and ")
        ))
    }

    /// Whether ports of TCP can be published.
    pub(crate) fn tcp_ports(&self) -> Support {
        match self.tool {
            Tool::Pasta => Support::emulated(format!(
                "by pasta, in user space: what comes from the host itself arrives on the container's loopback interface, \
                 not at {ADDRESS}"
            )),
            Tool::Slirp4netns => Support::none(
                "slirp4netns publishes only by a socket that somebody has to keep; install passt",
            ),
        }
    }

    /// Whether ports of UDP can be published. That is done by the shim: pasta 0.0~git20230309 of Debian 12, which does not tell
    /// its version, loses the replies where the host's port is above the container's, and slirp4netns publishes none by itself.
    pub(crate) fn udp_ports(&self) -> Support {
        Support::emulated(format!(
            "by a process that passes datagrams on: the container sees its own address {ADDRESS} as the sender"
        ))
    }

    /// What the network makes impossible in a config.
    ///
    /// # Errors
    ///
    /// A violation for a Linux capability with which a process gets around the routes.
    pub(crate) fn check(config: &ContainerConfig) -> Result<()> {
        let mask = config.security.capabilities.mask();
        let has =
            |name: &&str| LinuxCapabilities::number(name).is_some_and(|number| mask & (1 << number) != 0);
        let Some(name) = REFUSED.iter().find(|name| has(name)) else {
            return Ok(());
        };
        let message = format!(
            "{name} on network `{}`: without root it is the container's own routes that keep it from the host and from \
             link-local addresses",
            ContainerConfig::NETWORK_DEFAULT
        );
        let hint = "leave it out, use network `none` or `host`, or run the driver as root";
        Err(DriverError::violations(vec![
            Violation::new("/security/capabilities/add", message).with_hint(hint),
        ]))
    }

    /// Gives a run its network. Blocks.
    ///
    /// # Errors
    ///
    /// `CONTAINER_START_FAILED`, which names a port that is taken.
    pub(super) fn join(&self, container: &Container) -> Result<Membership> {
        let spec = &container.spec;
        let failed = |message: String| DriverError::container_start(container.id(), message);
        let ports = ports::assign(&Pages::default(), &spec.config).map_err(failed)?;
        let hosts = format!(
            "{}{ADDRESS}\t{} {}\n",
            etc::hosts(spec),
            spec.name,
            hostname(spec)
        );
        in_place(&container.dir.etc().join("hosts"), &hosts).map_err(|error| unwritable(&error))?;
        let unreachable = UNREACHABLE.into_iter().chain(own_addresses().map_err(failed)?);
        Ok(Membership {
            reach: Reach::Helper(NetworkHelper {
                program: self.program.to_string_lossy().into_owned(),
                arguments: self.arguments(&ports),
                address: ADDRESS,
                udp_ports: udp(&ports).map_err(failed)?,
                unreachable: unreachable.collect(),
            }),
            address: NetworkAddress {
                network: spec.config.network.clone(),
                ip: ADDRESS.to_string(),
            },
            ports,
        })
    }

    fn arguments(&self, ports: &[PublishedPort]) -> Vec<String> {
        let ports = || ports.iter().filter(|port| port.protocol == PortProtocol::Tcp);
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &str| arguments.extend(words.split_whitespace().map(str::to_owned));
        match self.tool {
            Tool::Pasta => {
                add("--foreground --quiet --ipv4-only --config-net");
                add(&format!(
                    "--address {ADDRESS} --netmask {PREFIX} --gateway {GATEWAY} --ns-ifname {INTERFACE}"
                ));
                // No way to the host's loopback interface: neither by the gateway's address nor by ports that are open there.
                add("--no-map-gw --tcp-ns none --udp-ns none");
                add("--udp-ports none");
                if ports().next().is_none() {
                    add("--tcp-ports none");
                }
                for port in ports() {
                    add(&format!(
                        "--tcp-ports {}/{}:{}",
                        port.host_ip, port.host_port, port.container_port
                    ));
                }
                add("--pid /proc/self/fd/0 --userns /proc/{pid}/ns/user --netns /proc/{pid}/ns/net");
            }
            Tool::Slirp4netns => {
                add("--configure --mtu=65520 --disable-host-loopback --disable-dns --enable-seccomp");
                if self.has_root {
                    // It becomes root of the namespace for it.
                    add("--enable-sandbox");
                }
                add(&format!("--ready-fd=0 {{pid}} {INTERFACE}"));
            }
        }
        arguments
    }
}

/// The ports that the shim publishes.
fn udp(ports: &[PublishedPort]) -> Result<Vec<UdpPort>, String> {
    let udp = ports.iter().filter(|port| port.protocol == PortProtocol::Udp);
    let ports = udp.map(|port| {
        Ok(UdpPort {
            host: SocketAddrV4::new(port.host_ip.parse()?, port.host_port),
            container: port.container_port,
        })
    });
    ports
        .collect::<Result<_, AddrParseError>>()
        .map_err(|error| error.to_string())
}

/// The directories in which programs are looked for.
pub(crate) fn directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// The host's own addresses, which are no part of the world outside.
fn own_addresses() -> Result<Vec<(Ipv4Addr, u8)>, String> {
    let interfaces = getifaddrs().map_err(|error| format!("the addresses of this host: {error}"))?;
    let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    Ok(addresses
        .filter(|address| !address.is_loopback())
        .map(|address| (address, 32))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    fn outbound(tool: Tool, has_root: bool) -> Outbound {
        Outbound {
            tool,
            program: Path::new("/usr/bin").join(tool.name()),
            has_root,
        }
    }

    fn user() -> UserNamespace {
        UserNamespace {
            uids: Vec::new(),
            gids: Vec::new(),
            by_helpers: false,
        }
    }

    fn port(host_port: u16) -> PublishedPort {
        PublishedPort {
            container_port: 80,
            host_port,
            host_ip: "127.0.0.1".to_owned(),
            protocol: PortProtocol::Tcp,
        }
    }

    #[test]
    fn pasta_forwards_the_published_ports_and_nothing_else() {
        let pasta = outbound(Tool::Pasta, true);
        let closed = pasta.arguments(&[]).join(" ");
        assert!(
            closed.contains("--no-map-gw --tcp-ns none --udp-ns none --udp-ports none --tcp-ports none"),
            "{closed}"
        );
        let open = pasta.arguments(&[port(8080), port(8081)]).join(" ");
        let both = [
            port(8081),
            PublishedPort {
                protocol: PortProtocol::Udp,
                ..port(8080)
            },
        ];
        assert_eq!(pasta.arguments(&both), pasta.arguments(&[port(8081)]));
        let forwarded = udp(&both).unwrap();
        assert_eq!(
            forwarded,
            [UdpPort {
                host: "127.0.0.1:8080".parse().unwrap(),
                container: 80
            }]
        );
        let expected = "--udp-ports none --tcp-ports 127.0.0.1/8080:80 --tcp-ports 127.0.0.1/8081:80 --pid";
        assert!(open.contains(expected), "{open}");
    }

    #[rstest]
    #[case(true)]
    #[case(false)]
    fn slirp4netns_has_no_way_to_the_loopback_interface_and_a_sandbox_where_it_can(#[case] has_root: bool) {
        let slirp = outbound(Tool::Slirp4netns, has_root);
        let arguments = slirp.arguments(&[]).join(" ");
        assert!(
            arguments.contains("--disable-host-loopback --disable-dns"),
            "{arguments}"
        );
        assert_eq!(arguments.contains("--enable-sandbox"), has_root);
        assert!(!slirp.tcp_ports().is_supported() && slirp.udp_ports().is_supported());
    }

    #[test]
    fn pasta_is_preferred_and_what_is_missing_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let directories = [directory.path().to_owned()];
        let missing = Outbound::look(&directories, &user()).unwrap_err();
        assert!(missing.contains("install passt or slirp4netns"), "{missing}");
        for (name, tool) in [("slirp4netns", Tool::Slirp4netns), ("pasta", Tool::Pasta)] {
            fs::write(directory.path().join(name), "").unwrap();
            match Outbound::look(&directories, &user()) {
                Ok(found) => assert_eq!((found.tool, found.has_root), (tool, false)),
                // Where only root may open it.
                Err(reason) => assert!(reason.contains(TUN), "{reason}"),
            }
        }
    }

    #[rstest]
    #[case::all("ALL", false)]
    #[case::routes("NET_ADMIN", false)]
    #[case::packets("CAP_NET_RAW", false)]
    #[case::other("CHOWN", true)]
    fn who_could_get_around_the_routes_is_refused(#[case] name: &str, #[case] good: bool) {
        let mut config = ContainerConfig::new("s", "image");
        config.security = config.security.add_capability(name);
        assert_eq!(Outbound::check(&config).is_ok(), good);
    }

    #[test]
    fn own_addresses_are_those_of_the_interfaces_that_lead_out() {
        let found = own_addresses().unwrap();
        assert!(
            found
                .iter()
                .all(|(address, prefix)| !address.is_loopback() && *prefix == 32)
        );
    }
}
