//! Validation of every other input, so that no driver has rules of its own.

use std::sync::LazyLock;

use driver_errors::{Result, Violation};
use driver_types::{
    ContainerConfig, ContainerFilter, EventFilter, ExecSpec, ImportOptions, LogOptions, NetworkConfig,
    PullRequest, ReapPolicy, RemoveOptions, ResourceLimits, SecurityOptions, StopOptions, VolumeConfig,
};

use crate::compiled::{CompiledSchema, input_schema};
use crate::document::Input;
use crate::document::sealed::Rules;
use crate::report::Report;
use crate::rules::{
    confinement, events, exec, exec_without_handle, import, limits, logs, logs_as_text, network, new_image,
    pull, reap, stop, volume,
};
use crate::{ImageReference, ValidatedConfig, config, text};

const DAY_MS: u64 = 86_400_000;
const MIN_STATS_INTERVAL_MS: u64 = 100;

macro_rules! validators {
    ($( $(#[$doc:meta])* $name:ident($input:ty) = $check:expr; )*) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// `CONFIGURATION_ERROR` with all violations, each with a JSON pointer into the input and a hint.
        pub fn $name(input: &$input) -> Result<()> {
            let mut report = Report::default();
            let check: fn(&mut Report, &$input) = $check;
            check(&mut report, input);
            report.finish(())
        }
    )* };
}

validators! {
    /// Validates resource limits, as of `update_resources`.
    validate_resource_limits(ResourceLimits) = limits;
    /// Validates security options.
    validate_security_options(SecurityOptions) = confinement;
    /// Validates the input of `create_volume`.
    validate_volume_config(VolumeConfig) = volume;
    /// Validates the input of `create_network`.
    validate_network_config(NetworkConfig) = network;
    /// Validates the input of `exec`: the rules of [`validate_exec_stream_spec`], and no `attachStdin`.
    validate_exec_spec(ExecSpec) = exec_without_handle;
    /// Validates the input of `exec_stream`.
    validate_exec_stream_spec(ExecSpec) = exec;
    /// Validates the input of `get_container_logs`: the rules of [`validate_stream_log_options`], and no `follow`.
    validate_log_options(LogOptions) = logs_as_text;
    /// Validates the input of `stream_logs`.
    validate_stream_log_options(LogOptions) = logs;
    /// Validates the input of `stop_container`.
    validate_stop_options(StopOptions) = stop;
    /// Validates the input of `pull_image`.
    validate_pull_request(PullRequest) = pull;
    /// Validates the input of `import_image`.
    validate_import_options(ImportOptions) = import;
    /// Validates the input of `reap`.
    validate_reap_policy(ReapPolicy) = reap;
    /// Validates the input of `events`.
    validate_event_filter(EventFilter) = events;
}

/// Types that can be read from JSON, with their rules.
macro_rules! inputs {
    ($( $input:ty = $check:expr; )*) => { $(
        impl Input for $input {}

        impl Rules for $input {
            fn schema() -> &'static CompiledSchema {
                static SCHEMA: LazyLock<CompiledSchema> = LazyLock::new(input_schema::<$input>);
                &SCHEMA
            }

            fn broken_rules(&self) -> Vec<Violation> {
                let mut report = Report::default();
                let check: fn(&mut Report, &$input) = $check;
                check(&mut report, self);
                report.into_violations()
            }
        }
    )* };
}

inputs! {
    ContainerConfig = config::check;
    ResourceLimits = limits;
    SecurityOptions = confinement;
    VolumeConfig = volume;
    NetworkConfig = network;
    ExecSpec = exec;
    LogOptions = logs;
    StopOptions = stop;
    RemoveOptions = |_, _| {};
    ContainerFilter = |_, _| {};
    EventFilter = events;
    PullRequest = pull;
    ImportOptions = import;
    ReapPolicy = reap;
}

/// Validates a config that is already typed, and brings it into normal form.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with all violations, each with a JSON pointer into the config and a hint. Values of `env`
/// are never in a message.
///
/// ```
/// use driver_types::ContainerConfig;
///
/// let config = driver_validation::validate_config(&ContainerConfig::new("s1", "alpine:3.20"))?;
/// assert_eq!(config.network, "none");
///
/// let error = driver_validation::validate_config(&ContainerConfig::new("", "Alpine")).unwrap_err();
/// let pointers: Vec<_> = error.violation_list().iter().map(|violation| violation.pointer.as_str()).collect();
/// assert_eq!(pointers, ["/sessionId", "/image"]);
/// # Ok::<(), driver_errors::DriverError>(())
/// ```
pub fn validate_config(config: &ContainerConfig) -> Result<ValidatedConfig> {
    ValidatedConfig::new(config.clone())
}

/// Validates a path inside a container, as of `copy_into` and `copy_from`: absolute, up to 4096 characters, no NUL
/// byte. `..` is allowed: the path is resolved inside the container's root.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with pointer `/path`.
pub fn validate_path(path: &str) -> Result<()> {
    let mut report = Report::default();
    text::absolute_path(&mut report, format_args!("/path"), path);
    report.finish(())
}

/// Validates the owner for whom a driver is opened: the rules of a session id.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with pointer `/owner`.
pub fn validate_owner(owner: &str) -> Result<()> {
    let mut report = Report::default();
    text::name(&mut report, format_args!("/owner"), owner, 1);
    report.finish(())
}

/// Validates the reference of an image that is made, as of `snapshot_container`: `name[:tag]` without a digest.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with pointer `/reference`.
pub fn validate_new_image_reference(reference: &str) -> Result<ImageReference> {
    let mut report = Report::default();
    new_image(&mut report, format_args!("/reference"), reference);
    report.finish(())?;
    reference.parse()
}

/// Validates the interval of `stream_stats`: 100 ms to a day.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with pointer `/intervalMs`.
pub fn validate_stats_interval(interval_ms: u64) -> Result<()> {
    let mut report = Report::default();
    text::range(
        &mut report,
        format_args!("/intervalMs"),
        interval_ms,
        MIN_STATS_INTERVAL_MS,
        DAY_MS,
        "ms",
    );
    report.finish(())
}
