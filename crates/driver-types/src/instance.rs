//! What a driver tells about a container.

use serde::{Deserialize, Serialize};

use crate::{
    ContainerHealth, ContainerState, ContainerStatus, Enforcement, ExitInfo, Labels, PublishedPort,
    ResourceLimits,
};

/// A snapshot of a container: it does not change after it was returned. Times are epoch milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ContainerInstance {
    /// Chosen by the driver; never reused.
    pub id: String,
    /// Unique in the driver while the container exists.
    pub name: String,
    /// The session it belongs to.
    pub session_id: String,
    /// The image as it was asked for.
    pub image: String,
    /// The digest that the reference stood for (`sha256:...`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Where it is in its life.
    pub status: ContainerStatus,
    /// The coarse state that follows from the status.
    pub state: ContainerState,
    /// The URL of the first published port, else `{driver}://{id}`.
    pub endpoint: String,
    /// When it was made.
    pub created_at: u64,
    /// When its current or last run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When its last run ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<u64>,
    /// How its last run ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitInfo>,
    /// Its health, if it has a health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ContainerHealth>,
    /// The ports that are published now; empty unless it runs.
    pub ports: Vec<PublishedPort>,
    /// Its addresses now, one a network; empty unless it runs.
    pub addresses: Vec<NetworkAddress>,
    /// The caller's labels, without the drivers' own.
    pub labels: Labels,
    /// Its limits.
    pub resources: ResourceLimits,
    /// How each limit is held.
    pub enforcement: Enforcement,
    /// The name of the driver.
    pub driver: String,
    /// How many runs came before the current or last one; without the capability `durableStopReason`, since the driver
    /// was opened.
    pub restarts: u32,
}

impl ContainerInstance {
    /// The `endpoint` that belongs to these ports.
    pub fn endpoint_of(driver: &str, id: &str, ports: &[PublishedPort]) -> String {
        match ports.first() {
            Some(port) if port.host_ip.contains(':') => {
                format!("{}://[{}]:{}", port.protocol, port.host_ip, port.host_port)
            }
            Some(port) => format!("{}://{}:{}", port.protocol, port.host_ip, port.host_port),
            None => [driver, "://", id].concat(),
        }
    }
}

/// An address of a container on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkAddress {
    /// The name of the network.
    pub network: String,
    /// The address, IPv4 or IPv6.
    pub ip: String,
}
