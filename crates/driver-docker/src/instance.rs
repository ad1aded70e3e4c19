//! From the engine's description of a container to the contract's.

use std::collections::BTreeMap;

use driver_types::{
    ContainerHealth, ContainerInstance, ContainerStatus, ExitInfo, ExitReason, HealthCheckRun, HealthStatus,
    Labels, NetworkAddress, PortProtocol, PublishedPort, ResourceLimits, Signal, labels,
};

use crate::DRIVER_NAME;
use crate::naming;
use crate::profile::Profile;
use crate::records::Memory;
use crate::time::parse_ms;
use crate::wire::{self, HostConfig, Inspect};

/// The snapshot of a container.
pub(crate) fn instance(inspect: &Inspect, memory: &Memory, profile: &Profile) -> ContainerInstance {
    let status = status(inspect, memory);
    let ports = if status.is_alive() {
        ports(&inspect.network_settings.ports)
    } else {
        Vec::new()
    };
    let started_at = parse_ms(&inspect.state.started_at);
    let exit = exit(inspect, memory);
    let label = |key: &str| inspect.config.labels.get(key).cloned().unwrap_or_default();
    ContainerInstance {
        id: inspect.id.clone(),
        name: inspect.name.trim_start_matches('/').to_owned(),
        session_id: label(labels::SESSION),
        image: inspect.config.image.clone(),
        image_digest: Some(inspect.image.clone()).filter(|digest| digest.starts_with("sha256:")),
        status,
        state: status.state(),
        endpoint: ContainerInstance::endpoint_of(DRIVER_NAME, &inspect.id, &ports),
        created_at: parse_ms(&inspect.created).unwrap_or_default(),
        started_at,
        finished_at: exit.as_ref().map(|exit| exit.finished_at),
        exit,
        health: health(inspect.state.health.as_ref()),
        ports,
        addresses: addresses(inspect, status),
        labels: callers_labels(&inspect.config.labels),
        resources: resources(&inspect.host_config, &label(naming::RESOURCES)),
        enforcement: profile.enforcement(inspect.host_config.readonly_rootfs),
        driver: DRIVER_NAME.to_owned(),
        restarts: memory.restarts,
    }
}

/// Where a container is in its life.
pub(crate) fn status(inspect: &Inspect, memory: &Memory) -> ContainerStatus {
    let stopped_by_us = memory.stopped_run.as_deref() == Some(inspect.state.started_at.as_str());
    match inspect.state.status.as_str() {
        "created" | "configured" | "initialized" => ContainerStatus::Created,
        "running" | "restarting" | "stopping" => ContainerStatus::Running,
        "paused" => ContainerStatus::Paused,
        "removing" => ContainerStatus::Removing,
        "exited" | "stopped" if stopped_by_us => ContainerStatus::Stopped,
        "exited" | "stopped" => ContainerStatus::Exited,
        "dead" => ContainerStatus::Dead,
        // A status of a later engine: what has a process runs, as far as the contract can say.
        _ if inspect.state.pid > 0 => ContainerStatus::Running,
        _ => ContainerStatus::Dead,
    }
}

/// How the last run ended, if it has.
pub(crate) fn exit(inspect: &Inspect, memory: &Memory) -> Option<ExitInfo> {
    let status = status(inspect, memory);
    if !status.has_ended() {
        return None;
    }
    let state = &inspect.state;
    let code = i32::try_from(state.exit_code).ok();
    let signal = code.and_then(Signal::from_exit_code);
    let reason = match () {
        () if status == ContainerStatus::Stopped => ExitReason::Stopped,
        () if memory.is_oom(inspect) => ExitReason::Oom,
        () if memory.removing => ExitReason::Removed,
        () if signal.is_some() => ExitReason::Signaled,
        () if code.is_some() => ExitReason::Exited,
        () => ExitReason::Unknown,
    };
    Some(ExitInfo {
        exit_code: code,
        signal,
        reason,
        // The engine notes the start after the process began: a short run can seem to end before it.
        finished_at: parse_ms(&state.finished_at)
            .max(parse_ms(&state.started_at))
            .unwrap_or_default(),
    })
}

/// The labels of the caller, without the drivers' own and those of the image.
pub(crate) fn callers_labels(found: &BTreeMap<String, String>) -> Labels {
    let of_image = found
        .get(naming::IMAGE_LABELS)
        .and_then(|keys| serde_json::from_str(keys).ok());
    let of_image: Vec<String> = of_image.unwrap_or_default();
    found
        .iter()
        .filter(|(key, _)| !key.starts_with(labels::PREFIX) && !of_image.contains(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The limits: those the engine holds now, and the disk limit from the label, which the engine may not know.
pub(crate) fn resources(host: &HostConfig, label: &str) -> ResourceLimits {
    let asked: ResourceLimits = serde_json::from_str(label).unwrap_or_default();
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let cpu = match (host.nano_cpus, host.cpu_quota, host.cpu_period) {
        (nanos, _, _) if nanos > 0 => nanos as f64 / 1e9,
        // Podman keeps the quota only.
        (_, quota, period) if quota > 0 && period > 0 => quota as f64 / period as f64,
        _ => asked.cpu,
    };
    ResourceLimits {
        cpu,
        memory: positive(host.memory).map_or(asked.memory, |bytes| bytes / ResourceLimits::MIB),
        disk: asked.disk,
        pids: positive(host.pids_limit).unwrap_or(asked.pids),
    }
}

/// The published ports, by container port.
fn ports(bindings: &BTreeMap<String, Option<Vec<wire::PortBinding>>>) -> Vec<PublishedPort> {
    let mut ports: Vec<_> = bindings
        .iter()
        .filter_map(|(key, bindings)| {
            let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
            let protocol = match protocol {
                "tcp" => PortProtocol::Tcp,
                "udp" => PortProtocol::Udp,
                _ => return None,
            };
            Some((port.parse::<u16>().ok()?, protocol, bindings.as_ref()?))
        })
        .flat_map(|(container_port, protocol, bindings)| {
            bindings.iter().filter_map(move |binding| {
                Some(PublishedPort {
                    container_port,
                    host_port: binding.host_port.parse().ok()?,
                    host_ip: binding.host_ip.clone(),
                    protocol,
                })
            })
        })
        .collect();
    ports.sort_by_key(|port| (port.container_port, port.protocol == PortProtocol::Udp));
    ports
}

fn addresses(inspect: &Inspect, status: ContainerStatus) -> Vec<NetworkAddress> {
    if !status.is_alive() {
        return Vec::new();
    }
    let networks = &inspect.network_settings.networks;
    networks
        .iter()
        .filter_map(|(name, endpoint)| {
            let ips = [&endpoint.ip_address, &endpoint.ipv6_address];
            let ip = ips.into_iter().find(|ip| !ip.is_empty())?;
            Some(NetworkAddress {
                network: naming::network_name(name).to_owned(),
                ip: ip.clone(),
            })
        })
        .collect()
}

fn health(health: Option<&wire::Health>) -> Option<ContainerHealth> {
    let health = health?;
    Some(ContainerHealth {
        status: health_status(&health.status)?,
        failing_streak: u32::try_from(health.failing_streak).unwrap_or_default(),
        checks: health
            .log
            .iter()
            .map(|run| HealthCheckRun {
                started_at: parse_ms(&run.start).unwrap_or_default(),
                finished_at: parse_ms(&run.end).unwrap_or_default(),
                exit_code: i32::try_from(run.exit_code).unwrap_or(-1),
                output: run.output.clone(),
            })
            .collect(),
    })
}

/// The verdict by the engine's word; `none` and unknown words: no verdict.
pub(crate) fn health_status(word: &str) -> Option<HealthStatus> {
    match word {
        "starting" => Some(HealthStatus::Starting),
        "healthy" => Some(HealthStatus::Healthy),
        "unhealthy" => Some(HealthStatus::Unhealthy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    fn inspect(status: &str, exit_code: i64, oom_killed: bool) -> Inspect {
        let mut inspect = Inspect::default();
        inspect.state.status = status.into();
        inspect.state.exit_code = exit_code;
        inspect.state.oom_killed = oom_killed;
        inspect.state.started_at = "2026-01-01T00:00:00Z".into();
        inspect.state.finished_at = "2026-01-01T00:00:01Z".into();
        inspect
    }

    #[rstest]
    #[case(0, false, false, ExitReason::Exited)]
    #[case(3, false, false, ExitReason::Exited)]
    #[case(200, false, false, ExitReason::Exited)]
    #[case(137, false, false, ExitReason::Signaled)]
    #[case(137, true, false, ExitReason::Oom)]
    #[case(0, true, false, ExitReason::Oom)]
    #[case(137, false, true, ExitReason::Stopped)]
    fn reasons(#[case] code: i64, #[case] oom: bool, #[case] stopped: bool, #[case] expected: ExitReason) {
        let inspect = inspect("exited", code, oom);
        let memory = Memory {
            stopped_run: stopped.then(|| inspect.state.started_at.clone()),
            ..Memory::default()
        };
        let exit = exit(&inspect, &memory).unwrap();
        assert_eq!(exit.reason, expected);
        assert_eq!(exit.finished_at, 1_767_225_601_000);
    }

    #[rstest]
    #[case(1_767_225_600_001, ExitReason::Oom)]
    #[case(1_767_225_599_999, ExitReason::Signaled)]
    fn an_event_of_this_run_counts_as_the_flag(#[case] oom_at: u64, #[case] expected: ExitReason) {
        let memory = Memory {
            oom_at: Some(oom_at),
            ..Memory::default()
        };
        let exit = exit(&inspect("exited", 137, false), &memory).unwrap();
        assert_eq!(exit.reason, expected);
    }

    #[test]
    fn a_stop_of_an_earlier_run_does_not_colour_a_later_one() {
        let inspect = inspect("exited", 0, false);
        let memory = Memory {
            stopped_run: Some("2025-01-01T00:00:00Z".into()),
            ..Memory::default()
        };
        assert_eq!(status(&inspect, &memory), ContainerStatus::Exited);
    }

    #[rstest]
    #[case("hibernating", 7, ContainerStatus::Running)]
    #[case("hibernating", 0, ContainerStatus::Dead)]
    #[case("stopping", 7, ContainerStatus::Running)]
    #[case("configured", 0, ContainerStatus::Created)]
    fn statuses_of_other_engines(#[case] word: &str, #[case] pid: i64, #[case] expected: ContainerStatus) {
        let mut inspect = inspect(word, 0, false);
        inspect.state.pid = pid;
        assert_eq!(status(&inspect, &Memory::default()), expected);
    }

    #[test]
    fn ports_are_sorted_by_number() {
        let binding = |port: &str| {
            Some(vec![wire::PortBinding {
                host_ip: "127.0.0.1".into(),
                host_port: port.into(),
            }])
        };
        let found = BTreeMap::from([
            ("8080/tcp".to_owned(), binding("1")),
            ("90/udp".to_owned(), binding("2")),
            ("443/tcp".to_owned(), None),
            ("9/sctp".to_owned(), binding("3")),
        ]);
        let found: Vec<_> = ports(&found).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1:2->90/udp", "127.0.0.1:1->8080/tcp"]);
    }
}
