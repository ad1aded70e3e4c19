//! What a simulated process does.

use driver_types::{HealthStatus, OutputStream, Signal};
use serde::{Deserialize, Serialize};

/// What the processes that match do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProcessRule {
    /// Of containers of this image, as the config names it; absent: of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// With arguments that begin so, the program included; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What they do.
    pub behavior: Behavior,
}

impl ProcessRule {
    /// A rule for a command line, in any image.
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>, behavior: Behavior) -> Self {
        Self {
            image: None,
            command: argv.into_iter().map(Into::into).collect(),
            behavior,
        }
    }

    /// A rule for every process of an image.
    pub fn image(image: impl Into<String>, behavior: Behavior) -> Self {
        Self {
            image: Some(image.into()),
            command: Vec::new(),
            behavior,
        }
    }

    pub(crate) fn matches(&self, image: &str, argv: &[String]) -> bool {
        self.image.as_deref().is_none_or(|wanted| wanted == image) && argv.starts_with(&self.command)
    }
}

/// A simulated process. The default does nothing until a signal ends it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Behavior {
    /// What it writes, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<OutputLine>,
    /// How long it runs, in milliseconds; absent: until a signal ends it, or until its output is written where `end`
    /// is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
    /// How it ends; absent: with exit code 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The signals that it ignores. SIGKILL and SIGSTOP cannot be ignored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_signals: Vec<Signal>,
    /// Memory that it takes, in MiB.
    pub memory_mib: u64,
    /// Cores that it keeps busy.
    pub cores: u32,
    /// Changes of its container's health, in place of a health check. For the main process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthChange>,
}

impl Behavior {
    /// Writes a line to stdout at once.
    #[must_use]
    pub fn line(mut self, text: impl Into<String>) -> Self {
        self.output.push(OutputLine {
            text: text.into(),
            stream: OutputStream::Stdout,
            after_ms: 0,
        });
        self
    }

    /// Runs for this long.
    #[must_use]
    pub fn run_ms(mut self, ms: u64) -> Self {
        self.run_ms = Some(ms);
        self
    }

    /// Ends so.
    #[must_use]
    pub fn end(mut self, end: End) -> Self {
        self.end = Some(end);
        self
    }

    /// Ignores a signal.
    #[must_use]
    pub fn ignore(mut self, signal: Signal) -> Self {
        self.ignore_signals.push(signal);
        self
    }

    /// Whether it only waits for a signal: no task is needed for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.output.is_empty()
            && self.run_ms.is_none()
            && self.end.is_none()
            && self.memory_mib == 0
            && self.cores == 0
            && self.health.is_empty()
    }
}

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputLine {
    /// The line, without its newline.
    pub text: String,
    /// Where it goes.
    #[serde(default = "stdout")]
    pub stream: OutputStream,
    /// After the line before, or the start, in milliseconds.
    #[serde(default)]
    pub after_ms: u64,
}

fn stdout() -> OutputStream {
    OutputStream::Stdout
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// With this code.
    ExitCode(i32),
    /// By this signal.
    Signal(Signal),
    /// It takes more memory than it may, and the kernel kills it.
    Oom,
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthChange {
    /// After the change before, or the start, in milliseconds.
    pub after_ms: u64,
    /// The new verdict.
    pub status: HealthStatus,
}
