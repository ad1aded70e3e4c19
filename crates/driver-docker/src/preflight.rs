//! `preflight`: what the engine's host has and lacks, each with the way out.

use std::sync::Arc;

use driver_types::{CheckStatus, Preflight, PreflightCheck, Result, Support};

use crate::engine::Engine;
use crate::guard;
use crate::profile::Profile;

/// The oldest API that has all that the driver sends: Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);

/// Looks, and changes nothing.
pub(crate) async fn preflight(engine: &Arc<Engine>) -> Result<Preflight> {
    let profile = match engine.profile().await {
        Ok(profile) => profile,
        Err(error) => {
            let host = engine.client.host();
            let remedy = format!("start the engine, or name another one with DOCKER_HOST (now {host})");
            let checks = vec![check(
                "engine",
                CheckStatus::Fail,
                error.to_string(),
                Some(remedy),
            )];
            return Ok(Preflight { checks });
        }
    };
    Ok(Preflight {
        checks: checks(&profile, engine.kernel_log.unreadable()),
    })
}

fn checks(profile: &Profile, no_kernel_log: Option<&str>) -> Vec<PreflightCheck> {
    let info = &profile.info;
    let found = format!("{} with {} cores", profile.engine_name(), info.ncpu);
    let has_seccomp = info
        .security_options
        .iter()
        .any(|option| option.starts_with("name=seccomp"));
    let mut checks = vec![
        check("engine", CheckStatus::Ok, found, None),
        api_version(profile),
        limit(
            "cpu limit",
            profile.cpu(),
            "use a kernel with CONFIG_CFS_BANDWIDTH and the cpu controller",
        ),
        limit(
            "memory limit",
            profile.memory(),
            "start the kernel with cgroup_enable=memory swapaccount=1",
        ),
        limit(
            "process limit",
            profile.pids(),
            "use a kernel with the pids controller",
        ),
        limit(
            "disk limit",
            profile.disk(),
            "keep the root read-only, or put the engine's data on xfs with pquota",
        ),
        limit(
            "exec guard",
            guard::support(&info.architecture),
            "use a build of the driver for the engine's architecture",
        ),
        told(
            "seccomp",
            has_seccomp,
            "use an engine with seccomp: system calls are not filtered",
        ),
        told(
            "ip forwarding",
            info.ipv4_forwarding,
            "set net.ipv4.ip_forward=1: containers cannot reach other machines",
        ),
        kernel_log(no_kernel_log),
        metadata(),
    ];
    checks.extend(info.warnings.iter().map(|warning| {
        check(
            "engine warning",
            CheckStatus::Warn,
            warning.clone(),
            Some("see the engine's manual".into()),
        )
    }));
    checks
}

fn api_version(profile: &Profile) -> PreflightCheck {
    let found = &profile.version.api_version;
    let parsed = found
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let message = format!("API {found}");
    if parsed.is_some_and(|version: (u32, u32)| version >= OLDEST_API) {
        check("api version", CheckStatus::Ok, message, None)
    } else {
        let remedy = format!(
            "use an engine with API {}.{} or later",
            OLDEST_API.0, OLDEST_API.1
        );
        check("api version", CheckStatus::Warn, message, Some(remedy))
    }
}

fn limit(name: &str, support: Support, remedy: &str) -> PreflightCheck {
    match support.reason {
        None => check(name, CheckStatus::Ok, support.level.to_string(), None),
        Some(reason) => check(name, CheckStatus::Warn, reason, Some(remedy.to_owned())),
    }
}

fn told(name: &str, is_there: bool, remedy: &str) -> PreflightCheck {
    if is_there {
        check(name, CheckStatus::Ok, "enabled".into(), None)
    } else {
        check(
            name,
            CheckStatus::Warn,
            "disabled".into(),
            Some(remedy.to_owned()),
        )
    }
}

/// Without it only the engine tells that a container ran out of memory, and it can miss the first moments of a run.
fn kernel_log(unreadable: Option<&str>) -> PreflightCheck {
    let Some(why) = unreadable else {
        return check("kernel log", CheckStatus::Ok, "readable".into(), None);
    };
    let message = format!("{why}: a container that runs out of memory at its start may be told as signaled");
    let remedy = "run the driver on the engine's machine, over its Unix socket, as root or with CAP_SYSLOG; or set \
                  kernel.dmesg_restrict=0";
    check("kernel log", CheckStatus::Warn, message, Some(remedy.into()))
}

/// The engine's API can neither show nor make rules for outbound traffic.
fn metadata() -> PreflightCheck {
    let message =
        "whether containers in the network `default` reach 169.254.169.254 cannot be seen through the engine";
    let remedy = "on a cloud machine: iptables -I DOCKER-USER -i openagent0 -d 169.254.169.254 -j DROP";
    check(
        "metadata address",
        CheckStatus::Warn,
        message.into(),
        Some(remedy.into()),
    )
}

fn check(name: &str, status: CheckStatus, message: String, remedy: Option<String>) -> PreflightCheck {
    PreflightCheck {
        name: name.to_owned(),
        status,
        message,
        remedy,
    }
}
