//! Published ports.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A port of the container to publish on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortMapping {
    /// The port inside, 1 to 65535.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub container_port: u16,
    /// The port of the host; 0 or absent: the engine chooses and it is read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// The address of the host; absent: 127.0.0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// The protocol; absent: tcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<PortProtocol>,
}

impl PortMapping {
    /// The host address where none is given: not reachable from other machines.
    pub const DEFAULT_HOST_IP: &str = "127.0.0.1";

    /// Publishes the TCP port on an address and port of the host that the engine chooses.
    pub fn tcp(container_port: u16) -> Self {
        Self {
            container_port,
            host_port: None,
            host_ip: None,
            protocol: None,
        }
    }

    /// Publishes the UDP port likewise.
    pub fn udp(container_port: u16) -> Self {
        Self {
            protocol: Some(PortProtocol::Udp),
            ..Self::tcp(container_port)
        }
    }

    /// Sets the port of the host.
    #[must_use]
    pub fn host_port(self, host_port: u16) -> Self {
        Self {
            host_port: Some(host_port),
            ..self
        }
    }

    /// The host address to use.
    pub fn effective_host_ip(&self) -> &str {
        self.host_ip.as_deref().unwrap_or(Self::DEFAULT_HOST_IP)
    }

    /// The protocol to use.
    pub fn effective_protocol(&self) -> PortProtocol {
        self.protocol.unwrap_or_default()
    }
}

/// A port that is published now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PublishedPort {
    /// The port inside.
    pub container_port: u16,
    /// The port of the host.
    pub host_port: u16,
    /// The address of the host.
    pub host_ip: String,
    /// The protocol.
    pub protocol: PortProtocol,
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            container_port,
            host_port,
            host_ip,
            protocol,
        } = self;
        write!(f, "{host_ip}:{host_port}->{container_port}/{protocol}")
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for PortProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
