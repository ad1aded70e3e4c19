//! The rules of every input but the container config.

use driver_types::{
    ContainerConfig, EventFilter, EventKind, ExecSpec, ImportOptions, LogOptions, NetworkConfig, PullRequest,
    ReapPolicy, ResourceLimits, SecurityOptions, StopOptions, VolumeConfig,
};

use crate::report::{At, Report, Show};
use crate::{config, resources, security, text};

const DAY_MS: u64 = 86_400_000;
const MAX_TIME_MS: u64 = 9_007_199_254_740_991;

pub(crate) fn limits(report: &mut Report, limits: &ResourceLimits) {
    resources::resources(report, format_args!(""), limits);
}

pub(crate) fn confinement(report: &mut Report, options: &SecurityOptions) {
    security::security(report, format_args!(""), options);
}

pub(crate) fn stop(report: &mut Report, options: &StopOptions) {
    text::range(
        report,
        format_args!("/timeout"),
        options.timeout.unwrap_or(0),
        0,
        DAY_MS,
        "ms",
    );
}

pub(crate) fn pull(report: &mut Report, request: &PullRequest) {
    config::image(report, format_args!("/reference"), &request.reference);
}

pub(crate) fn exec_without_handle(report: &mut Report, spec: &ExecSpec) {
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

pub(crate) fn logs_as_text(report: &mut Report, options: &LogOptions) {
    logs(report, options);
    if options.follow {
        report.add(
            format_args!("/follow"),
            "a string cannot be followed",
            "use stream_logs",
        );
    }
}

pub(crate) fn volume(report: &mut Report, config: &VolumeConfig) {
    text::name(report, format_args!("/name"), &config.name, 2);
    text::labels(report, format_args!("/labels"), &config.labels);
    if let Some(size) = config.size_mib {
        resources::volume_size(report, format_args!("/sizeMib"), size);
    }
}

pub(crate) fn network(report: &mut Report, config: &NetworkConfig) {
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

pub(crate) fn exec(report: &mut Report, spec: &ExecSpec) {
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

pub(crate) fn logs(report: &mut Report, options: &LogOptions) {
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

pub(crate) fn import(report: &mut Report, options: &ImportOptions) {
    new_image(report, format_args!("/reference"), &options.reference);
    text::argv(report, format_args!("/entrypoint"), &options.entrypoint, true);
    text::argv(report, format_args!("/command"), &options.command, false);
    text::env(report, format_args!("/env"), &options.env);
    if let Some(path) = &options.working_dir {
        text::absolute_path(report, format_args!("/workingDir"), path);
    }
    text::labels(report, format_args!("/labels"), &options.labels);
}

pub(crate) fn new_image(report: &mut Report, at: At<'_>, reference: &str) {
    config::image(report, at, reference);
    if reference.contains('@') {
        report.add(
            at,
            "a new image cannot have a digest in its name",
            "use name[:tag]",
        );
    }
}

pub(crate) fn reap(report: &mut Report, policy: &ReapPolicy) {
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

pub(crate) fn events(report: &mut Report, filter: &EventFilter) {
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
