//! Ports of the host: which are free.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use driver_types::{ContainerConfig, PortMapping, PortProtocol, PublishedPort};

use super::book::Pages;

/// How often the kernel is asked for a port that no other container has.
const TRIES: usize = 64;

/// The ports of the host for a config, in its order.
pub(crate) fn assign(pages: &Pages, config: &ContainerConfig) -> Result<Vec<PublishedPort>, String> {
    let mut assigned: Vec<PublishedPort> = Vec::new();
    for mapping in &config.ports {
        let port = one(pages, &assigned, mapping)?;
        assigned.push(port);
    }
    Ok(assigned)
}

fn one(pages: &Pages, assigned: &[PublishedPort], mapping: &PortMapping) -> Result<PublishedPort, String> {
    let host_ip = mapping.effective_host_ip();
    let ip: Ipv4Addr = host_ip.parse().map_err(|_| {
        format!("ports can be published on IPv4 addresses of the host only, not on `{host_ip}`")
    })?;
    let mut port = PublishedPort {
        container_port: mapping.container_port,
        host_port: mapping.host_port.unwrap_or(0),
        host_ip: host_ip.to_owned(),
        protocol: mapping.effective_protocol(),
    };
    let leased = pages.leases.iter().flat_map(|lease| &lease.ports);
    let taken: Vec<&PublishedPort> = leased.chain(assigned).collect();
    let chosen = port.host_port != 0;
    for _ in 0..if chosen { 1 } else { TRIES } {
        let wanted = mapping.host_port.unwrap_or(0);
        port.host_port = bind(ip, wanted, port.protocol)
            .map_err(|error| format!("port {host_ip}:{wanted}/{} is taken: {error}", port.protocol))?;
        if !taken.iter().any(|other| collide(other, &port)) {
            return Ok(port);
        }
    }
    Err(format!(
        "port {host_ip}:{}/{} is taken by another container; choose another one, or none",
        port.host_port, port.protocol
    ))
}

/// The port that the kernel gives, if it gives it: no process of the host has it.
fn bind(ip: Ipv4Addr, port: u16, protocol: PortProtocol) -> std::io::Result<u16> {
    match protocol {
        PortProtocol::Tcp => Ok(TcpListener::bind((ip, port))?.local_addr()?.port()),
        PortProtocol::Udp => Ok(UdpSocket::bind((ip, port))?.local_addr()?.port()),
    }
}

fn collide(one: &PublishedPort, other: &PublishedPort) -> bool {
    let any = |port: &PublishedPort| port.host_ip == "0.0.0.0";
    one.host_port == other.host_port
        && one.protocol == other.protocol
        && (one.host_ip == other.host_ip || any(one) || any(other))
}
