//! From a validated config to the body of the engine's create call. The hardened choices are here, in one place.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountType as EngineMountType, PortBinding, PortMap,
};
use driver_types::{ContainerConfig, MountType, ResourceLimits, SeccompProfile, TmpfsMount, labels};
use driver_validation::ValidatedConfig;

use crate::naming;
use crate::options::DockerOptions;
use crate::profile::Profile;

/// What was found out for a config before the container is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolved {
    /// The id of a network, or `none` or `host`.
    pub(crate) network_mode: String,
    /// The labels that the image has and the config does not.
    pub(crate) image_labels: Vec<String>,
    /// The volume of the exec guard.
    pub(crate) guard: Option<Mount>,
    /// By which this call finds its container again.
    pub(crate) attempt: String,
    /// The hash of the config.
    pub(crate) spec_hash: String,
}

/// The body of the create call.
pub(crate) fn body(
    config: &ValidatedConfig,
    resolved: Resolved,
    options: &DockerOptions,
    profile: &Profile,
) -> ContainerCreateBody {
    let ports: Vec<String> = config
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.container_port, port.effective_protocol()))
        .collect();
    ContainerCreateBody {
        hostname: config.hostname.clone(),
        user: Some(config.security.user.clone()),
        exposed_ports: (!ports.is_empty()).then_some(ports),
        tty: Some(config.tty),
        open_stdin: Some(config.stdin),
        // The end of the attached stdin is the end of the process's: without it `close_stdin` could not work.
        stdin_once: Some(config.stdin),
        env: Some(
            config
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        entrypoint: config.entrypoint.clone(),
        // With an entrypoint of the config's the engine leaves the image's command out, as the contract wants.
        cmd: config.command.clone(),
        image: Some(config.image.clone()),
        working_dir: config.working_dir.clone(),
        labels: Some(all_labels(config, &resolved, &options.owner)),
        stop_signal: Some(config.effective_stop_signal().to_string()),
        healthcheck: config.healthcheck.as_ref().map(|check| HealthConfig {
            test: Some(check.test.clone()),
            interval: Some(nanos(check.interval_ms)),
            timeout: Some(nanos(check.timeout_ms)),
            retries: Some(check.retries.into()),
            start_period: Some(nanos(check.start_period_ms)),
            start_interval: None,
        }),
        host_config: Some(host_config(config, resolved, options, profile)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(
    config: &ValidatedConfig,
    resolved: Resolved,
    options: &DockerOptions,
    profile: &Profile,
) -> HostConfig {
    let security = &config.security;
    let limits = &config.resources;
    let mut security_opt = Vec::new();
    if security.no_new_privileges {
        security_opt.push("no-new-privileges:true".to_owned());
    }
    if security.seccomp == SeccompProfile::Unconfined {
        security_opt.push("seccomp=unconfined".to_owned());
    }
    let hosts = config
        .extra_hosts
        .iter()
        .map(|(name, address)| format!("{name}:{address}"));
    let has_disk_limit = !security.read_only && profile.disk().is_supported();
    HostConfig {
        nano_cpus: profile.info.cpu_cfs_quota.then(|| nano_cpus(limits)),
        memory: profile.info.memory_limit.then(|| bytes(limits.memory)),
        // No swap beside the memory. An engine that cannot limit swap warns, and a warning is a refusal.
        memory_swap: (profile.info.memory_limit && profile.info.swap_limit).then(|| bytes(limits.memory)),
        pids_limit: profile.info.pids_limit.then(|| signed(limits.pids)),
        storage_opt: has_disk_limit
            .then(|| HashMap::from([("size".to_owned(), format!("{}m", limits.disk))])),
        init: Some(config.init),
        readonly_rootfs: Some(security.read_only),
        cap_drop: Some(security.capabilities.drop.clone()),
        cap_add: Some(security.capabilities.add.clone()),
        security_opt: Some(security_opt),
        mounts: Some(mounts(config).chain(resolved.guard).collect()),
        tmpfs: Some(config.effective_tmpfs().iter().map(tmpfs).collect()),
        port_bindings: Some(port_bindings(config)),
        network_mode: Some(resolved.network_mode),
        dns: Some(config.dns.clone()),
        extra_hosts: Some(hosts.collect()),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        log_config: Some(HostConfigLogConfig {
            typ: Some(log_driver(profile).to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), format!("{}m", options.log_limit.file_mib)),
                ("max-file".to_owned(), options.log_limit.files.to_string()),
            ])),
        }),
        // The engine would remove it with its exit code.
        auto_remove: Some(false),
        ..HostConfig::default()
    }
}

/// `json-file` keeps text only, with U+FFFD for other bytes; `local` keeps all bytes. Podman has neither, and takes the
/// name of the first for its own.
fn log_driver(profile: &Profile) -> &'static str {
    if profile.info.plugins.log.iter().any(|name| name == "local") {
        "local"
    } else {
        "json-file"
    }
}

fn all_labels(config: &ContainerConfig, resolved: &Resolved, owner: &str) -> HashMap<String, String> {
    let resources = serde_json::to_string(&config.resources).unwrap_or_default();
    let own = [
        (labels::SESSION, config.session_id.clone()),
        (naming::RESOURCES, resources),
        (naming::ATTEMPT, resolved.attempt.clone()),
    ];
    let request = config
        .request_id
        .clone()
        .map(|request| (labels::REQUEST, request));
    let image = (!resolved.image_labels.is_empty())
        .then(|| serde_json::to_string(&resolved.image_labels).unwrap_or_default())
        .map(|keys| (naming::IMAGE_LABELS, keys));
    naming::object_labels(owner, &config.labels, resolved.spec_hash.clone())
        .into_iter()
        .chain(
            own.into_iter()
                .chain(request)
                .chain(image)
                .map(|(key, value)| (key.to_owned(), value)),
        )
        .collect()
}

/// Mounts and never `Binds`: those make a missing source on the host.
fn mounts(config: &ContainerConfig) -> impl Iterator<Item = Mount> {
    config.volumes.iter().map(|volume| Mount {
        typ: Some(match volume.effective_type() {
            MountType::Bind => EngineMountType::BIND,
            MountType::Volume => EngineMountType::VOLUME,
        }),
        source: Some(volume.source.clone()),
        target: Some(volume.target.clone()),
        read_only: Some(volume.read_only),
        ..Mount::default()
    })
}

fn tmpfs(mount: &TmpfsMount) -> (String, String) {
    let options = format!("rw,exec,nosuid,nodev,mode=1777,size={}m", mount.size_mib);
    (mount.target.clone(), options)
}

fn port_bindings(config: &ContainerConfig) -> PortMap {
    let mut bindings = PortMap::new();
    for port in &config.ports {
        let key = format!("{}/{}", port.container_port, port.effective_protocol());
        let binding = PortBinding {
            host_ip: Some(port.effective_host_ip().to_owned()),
            // Empty: the engine chooses.
            host_port: Some(port.host_port.map(|port| port.to_string()).unwrap_or_default()),
        };
        bindings
            .entry(key)
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    bindings
}

/// Cores as the engine counts them.
pub(crate) fn nano_cpus(limits: &ResourceLimits) -> i64 {
    // Validation allows 0.01 to 65536 cores.
    (limits.cpu * 1e9).round() as i64
}

/// MiB in bytes.
pub(crate) fn bytes(mib: u64) -> i64 {
    signed(mib.saturating_mul(ResourceLimits::MIB))
}

/// A count as the engine takes it.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nanos(ms: u64) -> i64 {
    signed(ms.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use driver_types::{PortMapping, SecurityOptions, VolumeMount};

    use super::*;
    use crate::wire::Info;

    fn profile(has_controllers: bool) -> Profile {
        let info = Info {
            cpu_cfs_quota: has_controllers,
            memory_limit: has_controllers,
            swap_limit: has_controllers,
            pids_limit: has_controllers,
            driver: "overlay2".into(),
            ..Info::default()
        };
        Profile {
            info,
            ..Profile::default()
        }
    }

    fn json(config: ContainerConfig, profile: &Profile) -> serde_json::Value {
        let config = driver_validation::validate_config(&config).unwrap();
        let resolved = Resolved {
            network_mode: "none".into(),
            attempt: "a1".into(),
            spec_hash: "h1".into(),
            ..Resolved::default()
        };
        serde_json::to_value(body(&config, resolved, &DockerOptions::default(), profile)).unwrap()
    }

    #[test]
    fn the_defaults_are_hardened() {
        let body = json(ContainerConfig::new("s", "i"), &profile(true));
        insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(body) });
    }

    #[test]
    fn nothing_is_a_bind_and_ports_stay_on_the_host() {
        let config = ContainerConfig::new("s", "i")
            .network("default")
            .volume(VolumeMount::new("/srv", "/data").read_only(true))
            .volume(VolumeMount::new("cache", "/cache"))
            .port(PortMapping::tcp(80))
            .port(PortMapping::udp(53).host_port(5353));
        let host = json(config, &profile(true))["HostConfig"].clone();
        assert_eq!(host["Binds"], serde_json::Value::Null);
        assert_eq!(host["Mounts"][0]["Type"], "bind");
        assert_eq!(host["Mounts"][1]["Type"], "volume");
        assert_eq!(host["PortBindings"]["80/tcp"][0]["HostIp"], "127.0.0.1");
        assert_eq!(host["PortBindings"]["53/udp"][0]["HostPort"], "5353");
    }

    #[test]
    fn a_limit_that_the_kernel_lacks_is_not_sent() {
        let host = json(ContainerConfig::new("s", "i"), &profile(false))["HostConfig"].clone();
        for limit in ["NanoCpus", "Memory", "MemorySwap", "PidsLimit", "StorageOpt"] {
            assert_eq!(host[limit], serde_json::Value::Null, "{limit}");
        }
    }

    #[test]
    fn a_disk_limit_is_sent_where_the_engine_holds_it() {
        let quota = Profile {
            disk_quota: true,
            ..profile(true)
        };
        let writable = ContainerConfig::new("s", "i").security(SecurityOptions::default().read_only(false));
        assert_eq!(
            json(writable, &quota)["HostConfig"]["StorageOpt"]["size"],
            "1024m"
        );
    }
}
