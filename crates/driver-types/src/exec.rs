//! Processes in a running container.

use serde::{Deserialize, Serialize};

use crate::{Data, Env, Signal};

/// A process to run in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecSpec {
    /// The program and its arguments, never a shell string; no NUL byte.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub command: Vec<String>,
    /// Environment variables, beside the container's.
    #[serde(default, skip_serializing_if = "env_is_empty")]
    pub env: Env,
    /// The working directory, absolute; absent: the container's.
    #[cfg_attr(feature = "schema", schemars(length(max = 4096), regex(pattern = "^/")))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// `user[:group]`; absent: the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Give it a terminal; stdout and stderr are then one stream.
    #[serde(default)]
    pub tty: bool,
    /// The first size of the terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_size: Option<TerminalSize>,
    /// Bytes for its stdin; the end of them is its end of file unless `attachStdin` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Data>,
    /// Keep stdin open for the handle of `exec_stream`. Not for `exec`.
    #[serde(default)]
    pub attach_stdin: bool,
    /// After which the whole tree of the process is killed, in milliseconds; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 86_400_000)))]
    pub timeout_ms: Option<u64>,
    /// Bytes kept of each output stream by `exec`; absent: 1 MiB. What is beyond is read and dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 1_073_741_824)))]
    pub max_output_bytes: Option<u64>,
}

fn env_is_empty(env: &Env) -> bool {
    env.is_empty()
}

impl ExecSpec {
    /// Bytes kept of each output stream where the spec does not say.
    pub const DEFAULT_MAX_OUTPUT_BYTES: u64 = 1 << 20;

    /// A process without stdin, terminal or time-out.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: Env::default(),
            working_dir: None,
            user: None,
            tty: false,
            terminal_size: None,
            stdin: None,
            attach_stdin: false,
            timeout_ms: None,
            max_output_bytes: None,
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn working_dir(self, path: impl Into<String>) -> Self {
        Self {
            working_dir: Some(path.into()),
            ..self
        }
    }

    /// Sets the user.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            ..self
        }
    }

    /// Gives it a terminal.
    #[must_use]
    pub fn tty(self, size: TerminalSize) -> Self {
        Self {
            tty: true,
            terminal_size: Some(size),
            ..self
        }
    }

    /// Sets the bytes of its stdin.
    #[must_use]
    pub fn stdin(self, data: impl Into<Data>) -> Self {
        Self {
            stdin: Some(data.into()),
            ..self
        }
    }

    /// Keeps stdin open for the handle.
    #[must_use]
    pub fn attach_stdin(self) -> Self {
        Self {
            attach_stdin: true,
            ..self
        }
    }

    /// Sets the time-out.
    #[must_use]
    pub fn timeout_ms(self, ms: u64) -> Self {
        Self {
            timeout_ms: Some(ms),
            ..self
        }
    }

    /// Sets how much of each output stream is kept.
    #[must_use]
    pub fn max_output_bytes(self, bytes: u64) -> Self {
        Self {
            max_output_bytes: Some(bytes),
            ..self
        }
    }
}

/// How a process ended, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecResult {
    /// The exit code; 128 + number where a signal ended it; 127 for a missing program, 126 for one that is not
    /// executable.
    pub exit_code: i32,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Whether it was killed for its time-out.
    pub timed_out: bool,
    /// What it wrote to stdout, cut at the cap.
    pub stdout: Data,
    /// What it wrote to stderr, cut at the cap.
    pub stderr: Data,
    /// Whether stdout was cut.
    pub stdout_truncated: bool,
    /// Whether stderr was cut.
    pub stderr_truncated: bool,
    /// From start to end, in milliseconds.
    pub duration_ms: u64,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub rows: u16,
    /// Characters a line.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub columns: u16,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProcessExit {
    /// The exit code, as in [`ExecResult::exit_code`].
    pub exit_code: i32,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Whether it was killed for its time-out.
    #[serde(default)]
    pub timed_out: bool,
}

/// A piece of what a process does. `exit` comes last, and once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ProcessFrame {
    /// It wrote to stdout, or to its terminal.
    #[cfg_attr(feature = "schema", schemars(title = "StdoutFrame"))]
    Stdout {
        /// What it wrote.
        data: Data,
    },
    /// It wrote to stderr.
    #[cfg_attr(feature = "schema", schemars(title = "StderrFrame"))]
    Stderr {
        /// What it wrote.
        data: Data,
    },
    /// It ended.
    #[cfg_attr(feature = "schema", schemars(title = "ExitFrame"))]
    Exit(ProcessExit),
}
