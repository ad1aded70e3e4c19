//! Errors in the words of the command line: JSON pointers become the flags that the user typed, and each error
//! that has a way out names it.

use std::fmt::Write as _;

use driver_errors::{DriverError, ErrorKind, Violation};

/// Fields of the inputs by JSON pointer, and the flags that set them. The longest match counts.
const FLAGS: &[(&str, &str)] = &[
    ("/sessionId", "--session"),
    ("/image", "IMAGE"),
    ("/reference", "IMAGE"),
    ("/name", "--name"),
    ("/requestId", "--request-id"),
    ("/entrypoint", "--entrypoint"),
    ("/command", "COMMAND"),
    ("/workingDir", "--workdir"),
    ("/env", "--env"),
    ("/labels", "--label"),
    ("/resources/cpu", "--cpus"),
    ("/resources/memory", "--memory"),
    ("/resources/disk", "--disk"),
    ("/resources/pids", "--pids-limit"),
    ("/volumes", "--volume"),
    ("/tmpfs", "--tmpfs"),
    ("/ports", "--publish"),
    ("/network", "--network"),
    ("/hostname", "--hostname"),
    ("/dns", "--dns"),
    ("/extraHosts", "--add-host"),
    ("/security/readOnly", "--read-only"),
    ("/security/noNewPrivileges", "--security-opt no-new-privileges"),
    ("/security/seccomp", "--security-opt seccomp"),
    ("/security/user", "--user"),
    ("/security/capabilities", "--cap-drop"),
    ("/security/capabilities/drop", "--cap-drop"),
    ("/security/capabilities/add", "--cap-add"),
    ("/healthcheck/test", "--health-cmd"),
    ("/healthcheck/intervalMs", "--health-interval"),
    ("/healthcheck/timeoutMs", "--health-timeout"),
    ("/healthcheck/retries", "--health-retries"),
    ("/healthcheck/startPeriodMs", "--health-start-period"),
    ("/healthcheck", "--health-cmd"),
    ("/init", "--init"),
    ("/stdin", "--interactive"),
    ("/attachStdin", "--interactive"),
    ("/tty", "--tty"),
    ("/stopSignal", "--stop-signal"),
    ("/signal", "--signal"),
    ("/pullPolicy", "--pull"),
    ("/timeoutMs", "--timeout"),
    ("/timeout", "--time"),
    ("/user", "--user"),
    ("/sizeMib", "--size"),
    ("/subnet", "--subnet"),
    ("/internal", "--internal"),
    ("/maxAgeMs", "--max-age"),
    ("/graceMs", "--grace"),
    ("/liveOwners", "--live-owner"),
    ("/liveSessions", "--live-session"),
    ("/tail", "--tail"),
    ("/since", "--since"),
    ("/until", "--until"),
    ("/follow", "--follow"),
    ("/types", "--type"),
    ("/cpu", "--cpus"),
    ("/memory", "--memory"),
    ("/disk", "--disk"),
    ("/pids", "--pids-limit"),
];

/// The flag that sets the field at `pointer`; for an item of a list with its number, as in `--volume #2`.
pub(crate) fn flag_of(pointer: &str) -> Option<String> {
    let (field, flag) = FLAGS
        .iter()
        .filter(|(field, _)| {
            pointer
                .strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .max_by_key(|(field, _)| field.len())?;
    let item = pointer[field.len()..].trim_start_matches('/').split('/').next()?;
    Some(match item.parse::<usize>() {
        Ok(index) => format!("{flag} #{}", index + 1),
        Err(_) if item.is_empty() || !matches!(*field, "/env" | "/labels" | "/extraHosts") => {
            (*flag).to_owned()
        }
        Err(_) => format!("{flag} {}", item.replace("~1", "/").replace("~0", "~")),
    })
}

/// The error for people: what is wrong, where, and the way out.
pub(crate) fn explain(error: &DriverError) -> String {
    let mut text = match error.violation_list() {
        [] => format!("error: {error}"),
        violations => {
            let lines = violations.iter().map(explain_violation).collect::<String>();
            format!("error: the configuration is not valid{lines}")
        }
    };
    for (key, value) in error.context() {
        let _ = write!(text, "\n  {key}: {value}");
    }
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        let _ = write!(text, "\n  caused by: {source}");
        cause = source.source();
    }
    if let Some(cleanup) = error.cleanup() {
        let _ = write!(text, "\n  clean-up failed too: {cleanup}");
    }
    if let Some(hint) = hint(error.kind()) {
        let _ = write!(text, "\n  hint: {hint}");
    }
    text
}

fn explain_violation(violation: &Violation) -> String {
    let place = match flag_of(&violation.pointer) {
        Some(flag) => format!("{flag}: "),
        None if violation.pointer.is_empty() => String::new(),
        None => format!("{}: ", violation.pointer),
    };
    let hint = violation.hint.as_ref().map(|hint| format!("\n    hint: {hint}"));
    format!("\n  {place}{}{}", violation.message, hint.unwrap_or_default())
}

/// The way out of an error, where there is a usual one.
fn hint(kind: &ErrorKind) -> Option<String> {
    Some(match kind {
        ErrorKind::ContainerNotFound { .. } => "`driver ps -a` lists the containers of your owner".to_owned(),
        ErrorKind::VolumeNotFound { .. } => "`driver volume ls` lists the volumes".to_owned(),
        ErrorKind::NetworkNotFound { .. } => "`driver network ls` lists the networks".to_owned(),
        ErrorKind::ImageNotFound { .. } => {
            "check the name and tag; `driver image ls` lists what is here".to_owned()
        }
        ErrorKind::ContainerRemove { message, .. } if !message.contains("force") => {
            "stop it first, or use --force".to_owned()
        }
        ErrorKind::Network { .. } | ErrorKind::DriverHealth { .. } => {
            "`driver preflight` tells what the engine lacks; --driver chooses another one".to_owned()
        }
        ErrorKind::Unsupported { .. } => {
            "`driver capabilities` lists what this driver can do; --driver chooses another one".to_owned()
        }
        ErrorKind::ResourceLimit { resource, .. } => {
            let flag = flag_of(&format!("/resources/{resource}"))?;
            format!("ask for less with {flag}")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/resources/memory", Some("--memory"))]
    #[case("/volumes/1/target", Some("--volume #2"))]
    #[case("/env/A~1B", Some("--env A/B"))]
    #[case("/labels/openagent.owner", Some("--label openagent.owner"))]
    #[case("/healthcheck/intervalMs", Some("--health-interval"))]
    #[case("/healthcheck/other", Some("--health-cmd"))]
    #[case("/security/capabilities/add/0", Some("--cap-add #1"))]
    #[case("/imagex", None)]
    #[case("", None)]
    fn pointers_become_flags(#[case] pointer: &str, #[case] flag: Option<&str>) {
        assert_eq!(flag_of(pointer).as_deref(), flag);
    }

    #[test]
    fn violations_are_told_with_their_flags() {
        let error = DriverError::violations(vec![
            Violation::new("/resources/memory", "3 is less than the minimum of 6")
                .with_hint("use 6 MiB or more"),
            Violation::new("/ports/0/hostPort", "is taken"),
        ]);
        insta::assert_snapshot!(explain(&error), @r"
        error: the configuration is not valid
          --memory: 3 is less than the minimum of 6
            hint: use 6 MiB or more
          --publish #1: is taken
        ");
    }

    #[rstest]
    #[case(DriverError::container_not_found("web"), "`driver ps -a`")]
    #[case(DriverError::container_remove("web", "it is running"), "--force")]
    #[case(DriverError::resource_limit("cpu", 2.0, 64.0), "--cpus")]
    #[case(DriverError::unsupported("pause_container", "x"), "driver capabilities")]
    fn errors_name_the_way_out(#[case] error: DriverError, #[case] expected: &str) {
        let text = explain(&error);
        assert!(
            text.contains(&error.to_string()) && text.contains(expected),
            "{text}"
        );
    }
}
