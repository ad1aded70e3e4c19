//! Logs of a container.

use serde::{Deserialize, Serialize};

use crate::Data;

/// Which part of the logs, and how. Times are epoch milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogOptions {
    /// The last lines only; 0: none; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 1_000_000_000)))]
    pub tail: Option<u64>,
    /// Written at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 9_007_199_254_740_991_u64)))]
    pub since: Option<u64>,
    /// Written before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 9_007_199_254_740_991_u64)))]
    pub until: Option<u64>,
    /// Begin each line with its time (RFC 3339, UTC) and a space.
    pub timestamps: bool,
    /// With stdout.
    pub stdout: bool,
    /// With stderr.
    pub stderr: bool,
    /// Go on until the container ends; `stream_logs` only.
    pub follow: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            tail: None,
            since: None,
            until: None,
            timestamps: false,
            stdout: true,
            stderr: true,
            follow: false,
        }
    }
}

impl LogOptions {
    /// Everything, and on until the container ends.
    pub fn follow() -> Self {
        Self {
            follow: true,
            ..Self::default()
        }
    }

    /// The last lines only.
    pub fn tail(lines: u64) -> Self {
        Self {
            tail: Some(lines),
            ..Self::default()
        }
    }
}

/// An output stream of a process. With a terminal everything is stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a log: whole lines or parts of one, in order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LogFrame {
    /// Where it was written.
    pub stream: OutputStream,
    /// When it arrived, in epoch milliseconds.
    pub time: u64,
    /// What was written.
    pub data: Data,
}
