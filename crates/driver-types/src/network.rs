//! Networks.

use serde::{Deserialize, Serialize};

use crate::Labels;

/// A network to make. Members reach each other by name; members of other networks do not reach them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkConfig {
    /// 2 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit; unique in the driver; not `none`, `host`
    /// or `default`.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]+$"))
    )]
    pub name: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// No way out: members reach only each other.
    #[serde(default)]
    pub internal: bool,
    /// Its IPv4 subnet (`10.1.2.0/24`); absent: the driver chooses.
    #[cfg_attr(
        feature = "schema",
        schemars(regex(pattern = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"))
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
}

impl NetworkConfig {
    /// A network with outbound NAT and a subnet of the driver's choice.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Sets whether there is no way out.
    #[must_use]
    pub fn internal(self, internal: bool) -> Self {
        Self { internal, ..self }
    }

    /// Sets the subnet.
    #[must_use]
    pub fn subnet(self, subnet: impl Into<String>) -> Self {
        Self {
            subnet: Some(subnet.into()),
            ..self
        }
    }
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The name of the driver.
    pub driver: String,
    /// The caller's labels.
    pub labels: Labels,
    /// When it was made, in epoch milliseconds.
    pub created_at: u64,
    /// Whether there is no way out.
    pub internal: bool,
    /// Its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The gateway's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}
