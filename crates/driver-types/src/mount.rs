//! What is mounted into a container.

use serde::{Deserialize, Serialize};

/// A directory of the host, or a named volume, in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeMount {
    /// An absolute path of the host, or the name of a volume.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4096)))]
    pub source: String,
    /// Where it appears: absolute, normalised, unique, and not `/`, `/proc`, `/sys`, `/dev` or below them.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 2, max = 4096), regex(pattern = "^/"))
    )]
    pub target: String,
    /// Refuse writes.
    #[serde(default)]
    pub read_only: bool,
    /// Which of the two it is. A source that begins with `/` is a bind.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub mount_type: Option<MountType>,
}

impl VolumeMount {
    /// A writable mount of `source` at `target`.
    pub fn new(source: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            read_only: false,
            mount_type: None,
        }
    }

    /// Sets whether writes are refused.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// The type given, or the one that follows from the source.
    pub fn effective_type(&self) -> MountType {
        let by_source = if self.source.starts_with('/') {
            MountType::Bind
        } else {
            MountType::Volume
        };
        self.mount_type.unwrap_or(by_source)
    }
}

/// What a [`VolumeMount`] mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A path of the host.
    Bind,
    /// A volume made by `create_volume`.
    Volume,
}

/// A file system in memory. What is written to it counts towards the container's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TmpfsMount {
    /// Where it appears; the rules of [`VolumeMount::target`] apply.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 2, max = 4096), regex(pattern = "^/"))
    )]
    pub target: String,
    /// Its size in MiB.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_048_576)))]
    pub size_mib: u64,
}
