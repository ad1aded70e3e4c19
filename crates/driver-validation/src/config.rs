//! The rules of a container config. They are complete: what passes here passes the JSON Schema too.

use driver_types::{ContainerConfig, HealthCheckConfig};

use crate::report::{At, Report};
use crate::{mounts, ports, resources, security, text};

const DAY_MS: u64 = 86_400_000;

pub(crate) fn check(report: &mut Report, config: &ContainerConfig) {
    text::name(report, format_args!("/sessionId"), &config.session_id, 1);
    image(report, format_args!("/image"), &config.image);
    if let Some(name) = &config.name {
        text::name(report, format_args!("/name"), name, 2);
    }
    if let Some(request_id) = &config.request_id {
        text::name(report, format_args!("/requestId"), request_id, 1);
    }
    process(report, config);
    text::labels(report, format_args!("/labels"), &config.labels);
    limits(report, config);
    mounts::mounts(report, config);
    ports::network(report, config);
    security::security(report, format_args!("/security"), &config.security);
    if let Some(healthcheck) = &config.healthcheck {
        self::healthcheck(report, format_args!("/healthcheck"), healthcheck);
    }
}

pub(crate) fn image(report: &mut Report, at: At<'_>, reference: &str) {
    if let Some((message, hint)) = crate::image::problem(reference) {
        report.add(at, message, hint);
    }
}

fn process(report: &mut Report, config: &ContainerConfig) {
    if let Some(entrypoint) = &config.entrypoint {
        text::argv(report, format_args!("/entrypoint"), entrypoint, true);
    }
    if let Some(command) = &config.command {
        // After an entrypoint, the image's included, an empty first argument is legal.
        text::argv(report, format_args!("/command"), command, false);
    }
    if let Some(path) = &config.working_dir {
        text::absolute_path(report, format_args!("/workingDir"), path);
    }
    text::env(report, format_args!("/env"), &config.env);
}

fn limits(report: &mut Report, config: &ContainerConfig) {
    resources::resources(report, format_args!("/resources"), &config.resources);
    if config.init && config.resources.pids == 1 {
        let hint = "use at least 2, or set init to false";
        report.add(
            format_args!("/resources/pids"),
            "1 leaves no process beside the init process",
            hint,
        );
    }
}

fn healthcheck(report: &mut Report, at: At<'_>, check: &HealthCheckConfig) {
    let arguments = check.test.get(1..).unwrap_or_default();
    let form = match check.test.first().map(String::as_str) {
        Some("NONE") => arguments.is_empty(),
        Some("CMD-SHELL") => arguments.len() == 1,
        Some("CMD") => arguments.first().is_some_and(|program| !program.is_empty()),
        _ => false,
    };
    if !form {
        let hint = r#"use ["CMD", program, args...], ["CMD-SHELL", line] or ["NONE"]"#;
        report.add(format_args!("{at}/test"), "is not a health check command", hint);
    }
    text::argv(report, format_args!("{at}/test"), &check.test, false);
    text::range(
        report,
        format_args!("{at}/intervalMs"),
        check.interval_ms,
        1,
        DAY_MS,
        "ms",
    );
    text::range(
        report,
        format_args!("{at}/timeoutMs"),
        check.timeout_ms,
        1,
        DAY_MS,
        "ms",
    );
    text::range(
        report,
        format_args!("{at}/retries"),
        check.retries.into(),
        1,
        1000,
        "",
    );
    text::range(
        report,
        format_args!("{at}/startPeriodMs"),
        check.start_period_ms,
        0,
        DAY_MS,
        "ms",
    );
}
