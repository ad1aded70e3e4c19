//! What a container is made of: `spec.json`, written once.

use driver_types::{ContainerConfig, Enforcement, HealthCheckConfig, Labels, Signal};
use serde::{Deserialize, Serialize};

/// A container as it was created. Never changes; what happens to it stands in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    /// As the caller gave it.
    pub(crate) config: ContainerConfig,
    pub(crate) image: ImageSpec,
    /// Epoch milliseconds.
    pub(crate) created_at: u64,
    /// Nanoseconds after that: of two in one millisecond they tell which came first.
    #[serde(default)]
    pub(crate) created_nanos: u32,
    pub(crate) enforcement: Enforcement,
}

impl Spec {
    /// What orders containers: the oldest first.
    pub(crate) fn age(&self) -> (u64, u32, &str) {
        (self.created_at, self.created_nanos, &self.id)
    }
}

/// An image as it was when a container was made of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ImageSpec {
    /// Its id (`sha256:...`); for `host`: absent.
    pub(crate) id: Option<String>,
    /// Directories of its layers, the topmost first.
    pub(crate) layers: Vec<String>,
    /// Directories and files of the host to bind read-only into the root (image `host`): path inside and outside alike.
    pub(crate) host_paths: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) healthcheck: Option<HealthCheckConfig>,
    pub(crate) stop_signal: Option<Signal>,
}
