//! Resource limits.

use serde::{Deserialize, Serialize};

use crate::Support;

/// The four limits of a container (contract sections 1 and 6). MiB is 2^20 bytes. Swap is pinned to none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourceLimits {
    /// Cores, fractional, at least 0.01.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 65536)))]
    pub cpu: f64,
    /// Memory in MiB, at least 6.
    #[cfg_attr(feature = "schema", schemars(range(min = 6, max = 8_796_093_022_207_u64)))]
    pub memory: u64,
    /// Writable layer in MiB, at least 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8_796_093_022_207_u64)))]
    pub disk: u64,
    /// Processes and threads, at least 1; the `init` process counts.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4_194_304)))]
    pub pids: u64,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            cpu: 0.5,
            memory: 512,
            disk: 1024,
            pids: 100,
        }
    }
}

impl ResourceLimits {
    /// Bytes in a MiB.
    pub const MIB: u64 = 1 << 20;

    /// Sets the cores.
    #[must_use]
    pub fn cpu(self, cpu: f64) -> Self {
        Self { cpu, ..self }
    }

    /// Sets the memory in MiB.
    #[must_use]
    pub fn memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Sets the writable layer in MiB.
    #[must_use]
    pub fn disk(self, disk: u64) -> Self {
        Self { disk, ..self }
    }

    /// Sets the number of processes.
    #[must_use]
    pub fn pids(self, pids: u64) -> Self {
        Self { pids, ..self }
    }
}

/// How each limit of a container is held (contract section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Enforcement {
    /// The CPU limit.
    pub cpu: Support,
    /// The memory limit.
    pub memory: Support,
    /// The disk limit.
    pub disk: Support,
    /// The process limit.
    pub pids: Support,
}
