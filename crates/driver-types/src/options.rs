//! Options of the operations on containers.

use serde::{Deserialize, Serialize};

use crate::{ContainerInstance, ContainerState, ContainerStatus, Labels, Signal};

/// How to stop a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StopOptions {
    /// How long to wait after the signal before SIGKILL, in milliseconds; absent: 10000; 0: SIGKILL at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 86_400_000)))]
    pub timeout: Option<u64>,
    /// SIGKILL at once.
    pub force: bool,
    /// The first signal; absent: the container's `stopSignal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
}

impl StopOptions {
    /// The timeout where none is given, in milliseconds.
    pub const DEFAULT_TIMEOUT_MS: u64 = 10_000;

    /// Waits this long before SIGKILL.
    pub fn timeout(ms: u64) -> Self {
        Self {
            timeout: Some(ms),
            ..Self::default()
        }
    }

    /// SIGKILL at once.
    pub fn force() -> Self {
        Self {
            force: true,
            ..Self::default()
        }
    }

    /// The grace time in milliseconds; 0 means SIGKILL at once.
    pub fn effective_timeout(&self) -> u64 {
        if self.force {
            0
        } else {
            self.timeout.unwrap_or(Self::DEFAULT_TIMEOUT_MS)
        }
    }
}

/// How to remove a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Remove its anonymous volumes too. Named volumes always stay.
    pub volumes: bool,
    /// Succeed when there is no such container.
    pub ignore_missing: bool,
}

impl RemoveOptions {
    /// Kill it first if it runs.
    pub fn force() -> Self {
        Self {
            force: true,
            ..Self::default()
        }
    }
}

/// Which containers to list. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerFilter {
    /// Of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// In one of these statuses; empty: in any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<ContainerStatus>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ContainerState>,
    /// With all of these labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// With a name that begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// Of every owner, not only the driver's own.
    pub all_owners: bool,
}

impl ContainerFilter {
    /// Those of one session.
    pub fn session(session_id: impl Into<String>) -> Self {
        Self {
            session_id: Some(session_id.into()),
            ..Self::default()
        }
    }

    /// Whether a container passes, leaving its owner aside.
    pub fn matches(&self, container: &ContainerInstance) -> bool {
        self.session_id
            .as_ref()
            .is_none_or(|session| *session == container.session_id)
            && (self.status.is_empty() || self.status.contains(&container.status))
            && self.state.is_none_or(|state| state == container.state)
            && self
                .labels
                .iter()
                .all(|(key, value)| container.labels.get(key) == Some(value))
            && self
                .name_prefix
                .as_ref()
                .is_none_or(|prefix| container.name.starts_with(prefix.as_str()))
    }
}

/// What `wait_container` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WaitCondition {
    /// The run has ended. A container that was never started: the end of its first run.
    #[default]
    Exited,
    /// The container is gone. Resolves to the exit of its last run, or reason `removed` where it never ran or was
    /// running.
    Removed,
}

/// What happens to the containers when a driver shuts down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ShutdownMode {
    /// They run on and can be recovered.
    #[default]
    Leave,
    /// They are stopped.
    Stop,
    /// They are removed by force.
    Remove,
}
