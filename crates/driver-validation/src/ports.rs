//! Rules for published ports and the network of a container.

use std::net::IpAddr;

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
    let mut seen: Vec<HostPort> = Vec::new();
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
        let wanted = HostPort::new(port, address);
        if let Some(first) = seen.iter().position(|other| other.collides(&wanted)) {
            let message = format!("asks for the same as /ports/{first}");
            report.add(
                format_args!("/ports/{index}"),
                message,
                "publish each host port once",
            );
        }
        seen.push(wanted);
    }
}

/// What a mapping takes on the host.
struct HostPort {
    address: IpAddr,
    protocol: PortProtocol,
    /// 0: of the engine's choice.
    port: u16,
    container_port: u16,
}

impl HostPort {
    fn new(port: &PortMapping, address: IpAddr) -> Self {
        Self {
            address,
            protocol: port.effective_protocol(),
            port: port.host_port.unwrap_or(0),
            container_port: port.container_port,
        }
    }

    fn collides(&self, other: &Self) -> bool {
        let is_wildcard = |address: &IpAddr| address.is_unspecified();
        let same_address = self.address == other.address
            || self.address.is_ipv4() == other.address.is_ipv4()
                && (is_wildcard(&self.address) || is_wildcard(&other.address));
        self.protocol == other.protocol
            && self.port == other.port
            && same_address
            // Two ports of the engine's choice differ; asking twice for one container port is an oversight.
            && (self.port != 0 || self.container_port == other.container_port)
    }
}
