//! Health checks of containers, and the health of a driver.

use serde::{Deserialize, Serialize};

/// A command that tells from inside whether a container is healthy. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheckConfig {
    /// Docker's form: `["CMD", program, args...]`, `["CMD-SHELL", line]`, or `["NONE"]` to switch the image's off.
    /// Exit code 0 is healthy.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default = "thirty_seconds")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 86_400_000)))]
    pub interval_ms: u64,
    /// After which a check counts as failed.
    #[serde(default = "thirty_seconds")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 86_400_000)))]
    pub timeout_ms: u64,
    /// Failures in a row that make a container unhealthy.
    #[serde(default = "three")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub retries: u32,
    /// After the start, while failures do not count.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(max = 86_400_000)))]
    pub start_period_ms: u64,
}

fn thirty_seconds() -> u64 {
    30_000
}

fn three() -> u32 {
    3
}

impl HealthCheckConfig {
    /// A check that runs an argv, with Docker's default times.
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let test = std::iter::once("CMD".to_owned())
            .chain(argv.into_iter().map(Into::into))
            .collect();
        Self {
            test,
            interval_ms: thirty_seconds(),
            timeout_ms: thirty_seconds(),
            retries: three(),
            start_period_ms: 0,
        }
    }
}

/// Whether a container's health check passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No verdict yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

/// The health of a container that has a health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ContainerHealth {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last checks, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthCheckRun>,
}

/// One run of a health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckRun {
    /// When it began, in epoch milliseconds.
    pub started_at: u64,
    /// When it ended, in epoch milliseconds.
    pub finished_at: u64,
    /// Its exit code; -1 when it timed out or could not run.
    pub exit_code: i32,
    /// What it printed, cut by the engine.
    pub output: String,
}

/// Whether a driver can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DriverStatus {
    /// The engine answers.
    Healthy,
    /// It does not; see the error.
    Unhealthy,
}

/// The answer of `health_check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DriverHealth {
    /// The verdict.
    pub status: DriverStatus,
    /// When it was found, in epoch milliseconds.
    pub checked_at: u64,
    /// How long the check took, in milliseconds.
    pub latency_ms: u64,
    /// The engine's name and version, where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Why it is unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl DriverHealth {
    /// Whether the driver can work.
    pub fn is_healthy(&self) -> bool {
        self.status == DriverStatus::Healthy
    }
}
