//! Validation of every other input, so that no driver has rules of its own.

use std::sync::LazyLock;

use driver_errors::{Result, Violation};
use driver_types::{
    ContainerConfig, ContainerFilter, EventFilter, EventKind, ExecSpec, ImportOptions, LogOptions,
    NetworkConfig, PullRequest, ReapPolicy, RemoveOptions, ResourceLimits, SecurityOptions, StopOptions,
    VolumeConfig,
};

use crate::compiled::{CompiledSchema, input_schema};
use crate::document::Input;
use crate::document::sealed::Rules;
use crate::report::{At, Report, Show};
use crate::{ImageReference, ValidatedConfig, config, resources, security, text};

const DAY_MS: u64 = 86_400_000;
const MAX_TIME_MS: u64 = 9_007_199_254_740_991;
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

fn limits(report: &mut Report, limits: &ResourceLimits) {
    resources::resources(report, format_args!(""), limits);
}

fn confinement(report: &mut Report, options: &SecurityOptions) {
    security::security(report, format_args!(""), options);
}

fn stop(report: &mut Report, options: &StopOptions) {
    text::range(
        report,
        format_args!("/timeout"),
        options.timeout.unwrap_or(0),
        0,
        DAY_MS,
        "ms",
    );
}

fn pull(report: &mut Report, request: &PullRequest) {
    config::image(report, format_args!("/reference"), &request.reference);
}

fn exec_without_handle(report: &mut Report, spec: &ExecSpec) {
    exec(report, spec);
    if spec.attach_stdin {
        let hint = "pass stdin, or use exec_stream";
        report.add(
            format_args!("/attachStdin"),
            "exec has no handle to write to",
            hint,
        );
    }
}

fn logs_as_text(report: &mut Report, options: &LogOptions) {
    logs(report, options);
    if options.follow {
        report.add(
            format_args!("/follow"),
            "a string cannot be followed",
            "use stream_logs",
        );
    }
}

fn volume(report: &mut Report, config: &VolumeConfig) {
    text::name(report, format_args!("/name"), &config.name, 2);
    text::labels(report, format_args!("/labels"), &config.labels);
    if let Some(size) = config.size_mib {
        resources::volume_size(report, format_args!("/sizeMib"), size);
    }
}

fn network(report: &mut Report, config: &NetworkConfig) {
    text::name(report, format_args!("/name"), &config.name, 2);
    let reserved = [
        ContainerConfig::NETWORK_NONE,
        ContainerConfig::NETWORK_HOST,
        ContainerConfig::NETWORK_DEFAULT,
    ];
    if reserved.contains(&config.name.as_str()) {
        let message = format!("{} is the name of a built-in network", Show(&config.name));
        report.add(format_args!("/name"), message, "choose another name");
    }
    text::labels(report, format_args!("/labels"), &config.labels);
    if let Some(subnet) = config.subnet.as_deref().filter(|subnet| !is_subnet(subnet)) {
        let message = format!("{} is not an IPv4 subnet", Show(subnet));
        let hint = "use the first address of the subnet and a prefix of 8 to 30, for example 10.1.2.0/24";
        report.add(format_args!("/subnet"), message, hint);
    }
}

/// An IPv4 network address with a prefix that leaves room for a gateway and a container.
fn is_subnet(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let (Ok(address), Ok(length)) = (address.parse::<std::net::Ipv4Addr>(), prefix.parse::<u32>()) else {
        return false;
    };
    (8..=30).contains(&length) && prefix == length.to_string() && u32::from(address) << length == 0
}

fn exec(report: &mut Report, spec: &ExecSpec) {
    if spec.command.is_empty() {
        report.add(
            format_args!("/command"),
            "must not be empty",
            "name the program to run",
        );
    }
    text::argv(report, format_args!("/command"), &spec.command, true);
    text::env(report, format_args!("/env"), &spec.env);
    if let Some(path) = &spec.working_dir {
        text::absolute_path(report, format_args!("/workingDir"), path);
    }
    if let Some(user) = &spec.user {
        text::user(report, format_args!("/user"), user);
    }
    if let Some(size) = spec.terminal_size {
        if !spec.tty {
            let hint = "set tty, or leave the size out";
            report.add(format_args!("/terminalSize"), "the process has no terminal", hint);
        }
        text::range(
            report,
            format_args!("/terminalSize/rows"),
            size.rows.into(),
            1,
            u16::MAX.into(),
            "",
        );
        text::range(
            report,
            format_args!("/terminalSize/columns"),
            size.columns.into(),
            1,
            u16::MAX.into(),
            "",
        );
    }
    if let Some(timeout) = spec.timeout_ms {
        text::range(report, format_args!("/timeoutMs"), timeout, 1, DAY_MS, "ms");
    }
    let cap = spec.max_output_bytes.unwrap_or(0);
    text::range(report, format_args!("/maxOutputBytes"), cap, 0, 1 << 30, "bytes");
}

fn logs(report: &mut Report, options: &LogOptions) {
    text::range(
        report,
        format_args!("/tail"),
        options.tail.unwrap_or(0),
        0,
        1_000_000_000,
        "lines",
    );
    text::range(
        report,
        format_args!("/since"),
        options.since.unwrap_or(0),
        0,
        MAX_TIME_MS,
        "ms",
    );
    text::range(
        report,
        format_args!("/until"),
        options.until.unwrap_or(0),
        0,
        MAX_TIME_MS,
        "ms",
    );
    if let (Some(since), Some(until)) = (options.since, options.until)
        && since > until
    {
        let message = format!("{until} is before since, {since}");
        report.add(format_args!("/until"), message, "use a time after since");
    }
    if !options.stdout && !options.stderr {
        report.add(
            format_args!("/stdout"),
            "neither stdout nor stderr is asked for",
            "set at least one of them",
        );
    }
}

fn import(report: &mut Report, options: &ImportOptions) {
    new_image(report, format_args!("/reference"), &options.reference);
    text::argv(report, format_args!("/entrypoint"), &options.entrypoint, true);
    text::argv(report, format_args!("/command"), &options.command, false);
    text::env(report, format_args!("/env"), &options.env);
    if let Some(path) = &options.working_dir {
        text::absolute_path(report, format_args!("/workingDir"), path);
    }
    text::labels(report, format_args!("/labels"), &options.labels);
}

fn new_image(report: &mut Report, at: At<'_>, reference: &str) {
    config::image(report, at, reference);
    if reference.contains('@') {
        report.add(
            at,
            "a new image cannot have a digest in its name",
            "use name[:tag]",
        );
    }
}

fn reap(report: &mut Report, policy: &ReapPolicy) {
    text::range(
        report,
        format_args!("/maxAgeMs"),
        policy.max_age_ms.unwrap_or(0),
        0,
        MAX_TIME_MS,
        "ms",
    );
    text::range(
        report,
        format_args!("/graceMs"),
        policy.grace_ms.unwrap_or(0),
        0,
        MAX_TIME_MS,
        "ms",
    );
    for (index, owner) in policy.live_owners.iter().flatten().enumerate() {
        text::name(report, format_args!("/liveOwners/{index}"), owner, 1);
    }
    for (index, session) in policy.live_sessions.iter().flatten().enumerate() {
        text::name(report, format_args!("/liveSessions/{index}"), session, 1);
    }
}

fn events(report: &mut Report, filter: &EventFilter) {
    for (index, name) in filter.types.iter().enumerate() {
        if !EventKind::NAMES.contains(&name.as_str()) {
            let message = format!("{} is not a kind of event", Show(name));
            report.add(
                format_args!("/types/{index}"),
                message,
                format!("use one of {}", EventKind::NAMES.join(", ")),
            );
        }
    }
}
