//! Volumes.

use serde::{Deserialize, Serialize};

use crate::Labels;

/// A volume to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeConfig {
    /// 2 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit; unique in the driver.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]+$"))
    )]
    pub name: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Its size limit in MiB; absent: none. Needs the capability `volumeSize`.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8_796_093_022_207_u64)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_mib: Option<u64>,
}

impl VolumeConfig {
    /// A volume without labels or size limit.
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
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its id; with Docker the same as the name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The name of the driver.
    pub driver: String,
    /// The caller's labels.
    pub labels: Labels,
    /// When it was made, in epoch milliseconds.
    pub created_at: u64,
    /// Its size limit in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_mib: Option<u64>,
    /// Where it is on the host, where the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
}
