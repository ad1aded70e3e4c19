//! Rules for published ports and the network of a container.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use driver_types::{ContainerConfig, PortMapping, PortProtocol};

use crate::report::{Report, Show};
use crate::text::{hostname, ip, is_host_label, name};

pub(crate) fn network(report: &mut Report, config: &ContainerConfig) {
    name(report, format_args!("/network"), &config.network, 1);
    if let Some(host) = &config.hostname {
        hostname(report, format_args!("/hostname"), host);
    }
    for (index, address) in config.dns.iter().enumerate() {
        ip(report, format_args!("/dns/{index}"), address);
    }
    for (host, address) in &config.extra_hosts {
        let at = format_args!("/extraHosts/{}", crate::report::Token(host));
        if host.len() > 253 || !host.split('.').all(is_host_label) {
            let message = format!("{} is not a host name", Show(host));
            report.add(at, message, "use labels of A-Z a-z 0-9 - with dots between them");
        }
        ip(report, at, address);
    }
    ports(report, config);
}

fn ports(report: &mut Report, config: &ContainerConfig) {
    let is_reachable =
        config.network != ContainerConfig::NETWORK_NONE && config.network != ContainerConfig::NETWORK_HOST;
    if !config.ports.is_empty() && !is_reachable {
        let message = format!("ports cannot be published on network {}", Show(&config.network));
        report.add(
            format_args!("/ports"),
            message,
            "set network to `default` or to a network of create_network",
        );
    }
    let mut taken = Taken::default();
    for (index, port) in config.ports.iter().enumerate() {
        if port.container_port == 0 {
            report.add(
                format_args!("/ports/{index}/containerPort"),
                "0 is not a port",
                "use 1 to 65535",
            );
        }
        let address = ip(
            report,
            format_args!("/ports/{index}/hostIp"),
            port.effective_host_ip(),
        );
        let Some(address) = address else { continue };
        if let Some(first) = taken.take(port, address, index) {
            let message = format!("asks for the same as /ports/{first}");
            report.add(
                format_args!("/ports/{index}"),
                message,
                "publish each host port once",
            );
        }
    }
}

/// What the mappings so far take on the host, with the index of the mapping that took it first.
#[derive(Default)]
struct Taken(HashMap<(HostPort, Place), usize>);

/// A port of the host. One of the engine's choice is told apart by the port inside: asking twice for the same is an
/// oversight.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct HostPort {
    is_udp: bool,
    is_ipv4: bool,
    port: u16,
    container_port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// Any address of the family.
    Any,
    /// This address.
    At(IpAddr),
}

impl Taken {
    /// Takes what a mapping asks for, and returns the earlier mapping that has it already, if there is one.
    fn take(&mut self, mapping: &PortMapping, address: IpAddr, index: usize) -> Option<usize> {
        let port = mapping.host_port.unwrap_or(0);
        let host_port = HostPort {
            is_udp: mapping.effective_protocol() == PortProtocol::Udp,
            is_ipv4: address.is_ipv4(),
            port,
            container_port: (port == 0).then_some(mapping.container_port),
        };
        let everywhere: IpAddr = if address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let rivals: &[Place] = match address == everywhere {
            true => &[Place::Any],
            false => &[Place::At(address), Place::At(everywhere)],
        };
        let first = rivals
            .iter()
            .filter_map(|place| self.0.get(&(host_port, *place)))
            .min()
            .copied();
        for place in [Place::Any, Place::At(address)] {
            self.0.entry((host_port, place)).or_insert(index);
        }
        first
    }
}
