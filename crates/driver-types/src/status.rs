//! Statuses of a container and the coarse states that follow from them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a container is in its life (contract section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Ended because `stop_container` asked.
    Stopped,
    /// Ended by itself.
    Exited,
    /// Being removed.
    Removing,
    /// The driver lost control of it.
    Dead,
}

impl ContainerStatus {
    /// All statuses, in the order of the contract.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Stopped,
        Self::Exited,
        Self::Removing,
        Self::Dead,
    ];

    /// The coarse state that follows from the status.
    pub fn state(self) -> ContainerState {
        match self {
            Self::Running | Self::Paused => ContainerState::Running,
            Self::Created | Self::Stopped | Self::Exited | Self::Removing => ContainerState::Terminated,
            Self::Dead => ContainerState::Error,
        }
    }

    /// Whether it has a process, running or frozen.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether its process has ended.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited)
    }

    /// The wire name: lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for ContainerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The coarse state of the TypeScript package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Running or paused.
    Running,
    /// Created, stopped, exited or being removed.
    Terminated,
    /// Dead.
    Error,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ExitReason {
    /// The process ended by itself.
    Exited,
    /// A signal ended it that was neither a stop nor the out-of-memory killer.
    Signaled,
    /// The kernel killed a process of it for exceeding the memory limit.
    Oom,
    /// `stop_container` ended it.
    Stopped,
    /// It was removed by force while it ran.
    Removed,
    /// The driver could not find out.
    Unknown,
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::Oom => "oom",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
        })
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExitInfo {
    /// The exit code; 128 + number where a signal ended the process. Absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the process, if one did. Docker reports only a code: above 128 it is read as a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<crate::Signal>,
    /// Why.
    pub reason: ExitReason,
    /// When, in epoch milliseconds.
    pub finished_at: u64,
}
