//! The script: everything about a world that a test or a configuration file can set.

mod behavior;
mod delay;
mod fault;
mod preset;

use std::collections::BTreeMap;

use driver_types::{Labels, Operation};
use serde::{Deserialize, Serialize};

pub use behavior::{Behavior, End, HealthChange, OutputLine, ProcessRule};
pub use delay::Delay;
pub(crate) use fault::Lies;
pub use fault::{Fault, Lie};

/// What a world simulates beyond its profile. The default is a fast and faultless engine.
///
/// ```
/// use driver_mock::Script;
///
/// let script = Script::from_json(
///     r#"{
///         "delays": {"createContainer": {"minMs": 100, "maxMs": 200}},
///         "faults": [{"kind": "hang", "operation": "stopContainer", "nth": 2}],
///         "processes": [{"command": ["build"], "behavior": {
///             "output": [{"text": "done", "afterMs": 50}], "runMs": 80, "end": {"exitCode": 3}}}]
///     }"#,
/// )?;
/// assert_eq!(script.faults.len(), 1);
/// assert!(Script::from_json(r#"{"delay": 5}"#).is_err(), "unknown fields are refused");
/// # Ok::<(), driver_mock::DriverError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Script {
    /// The seed of every variation: equal seeds and equal calls give equal delays and ids.
    pub seed: u64,
    /// How long an operation takes where `delays` does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_delay: Option<Delay>,
    /// How long each operation takes, before it has its effect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub delays: BTreeMap<Operation, Delay>,
    /// The most that one container may ask for.
    pub capacity: Capacity,
    /// Less than this grace time is refused by `stop_container`, in milliseconds; absent: nothing is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_stop_timeout_ms: Option<u64>,
    /// The first host port that the engine chooses for a published port; absent: 49153.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_port: Option<u16>,
    /// What goes wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// The images that the registry has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registry: Vec<RegistryImage>,
    /// What processes do; the first rule that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessRule>,
    /// Whether bind mounts are possible: they show the files of the simulated host, which `World::make_host_dir` and
    /// `World::write_host_file` make. Files of this machine are never touched.
    pub host_files: bool,
    /// Events that a slow reader may be behind before it gets `lagged`.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_048_576)))]
    pub event_buffer: usize,
    /// Bytes of log that are kept of each container; older lines go first.
    pub log_bytes: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            seed: 0,
            default_delay: None,
            delays: BTreeMap::new(),
            capacity: Capacity::default(),
            min_stop_timeout_ms: None,
            first_port: None,
            faults: Vec::new(),
            registry: vec![RegistryImage::new("alpine:latest").program("sh")],
            processes: Vec::new(),
            host_files: false,
            event_buffer: 1024,
            log_bytes: 16 << 20,
        }
    }
}

/// The most that one container may ask for: what the simulated host has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Capacity {
    /// Cores.
    pub cpu: f64,
    /// Memory in MiB.
    pub memory: u64,
    /// Disk in MiB.
    pub disk: u64,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            cpu: 4.0,
            memory: 16 * 1024,
            disk: 256 * 1024,
        }
    }
}

/// An image of the simulated registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegistryImage {
    /// Its reference.
    pub reference: String,
    /// The programs on its `PATH`, beside `cat`, `echo`, `env`, `false`, `sleep` and `true`. One that no rule of
    /// `processes` covers runs until a signal ends it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Its entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its default command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The size of each layer in bytes, as the pull reports it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<u64>,
    /// How long a layer takes to arrive, in milliseconds.
    pub layer_ms: u64,
    /// Who may pull it: user and password; absent: anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// Credentials that the simulated registry wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password: a made-up one, for tests.
    pub password: String,
}

impl RegistryImage {
    /// An image for anybody, with the common programs only.
    pub fn new(reference: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            ..Self::default()
        }
    }

    /// Adds a program.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.programs.push(name.into());
        self
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// A configuration error that tells the line and what was expected.
    pub fn from_json(text: &str) -> driver_types::Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            driver_types::DriverError::configuration(format!("the script is not valid: {error}"))
        })
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Adds a lie.
    #[must_use]
    pub fn lie(self, lie: Lie) -> Self {
        self.fault(Fault::Lie { lie })
    }

    /// Adds a rule for processes.
    #[must_use]
    pub fn process(mut self, rule: ProcessRule) -> Self {
        self.processes.push(rule);
        self
    }

    /// Sets how long an operation takes.
    #[must_use]
    pub fn delay(mut self, operation: Operation, delay: Delay) -> Self {
        self.delays.insert(operation, delay);
        self
    }

    /// Sets how long every other operation takes.
    #[must_use]
    pub fn default_delay(mut self, delay: Delay) -> Self {
        self.default_delay = Some(delay);
        self
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn json_gives_back_what_code_wrote() {
        let script = Script::default()
            .delay(Operation::CreateContainer, Delay::between(5, 9))
            .fault(Fault::hang(Operation::StopContainer).nth(2))
            .fault(Fault::error(
                Operation::Exec,
                driver_types::DriverError::network("cut"),
            ))
            .lie(Lie::ListNewestFirst)
            .process(ProcessRule::command(
                ["x"],
                Behavior::default().end(End::ExitCode(3)),
            ));
        let text = serde_json::to_string(&script).unwrap();
        assert_eq!(Script::from_json(&text).unwrap(), script);
    }

    #[rstest]
    #[case::top(r#"{"nothing": 1}"#)]
    #[case::fault(r#"{"faults": [{"kind": "hang", "operation": "exec", "when": 1}]}"#)]
    #[case::unknown_fault(r#"{"faults": [{"kind": "explode"}]}"#)]
    #[case::unknown_operation(r#"{"delays": {"frobnicate": {"minMs": 1, "maxMs": 1}}}"#)]
    #[case::behavior(r#"{"processes": [{"behavior": {"exit": 1}}]}"#)]
    fn unknown_fields_are_refused(#[case] text: &str) {
        assert_eq!(Script::from_json(text).unwrap_err().code(), "CONFIGURATION_ERROR");
    }
}
