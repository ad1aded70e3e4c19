//! What is read of the engine's replies: few fields, every one with a default, and no enum, so that a value which
//! this driver does not know cannot make a whole reply fail.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default: Go writes an empty list or map so.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

macro_rules! wire {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* } )*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
            #[serde(default, rename_all = "PascalCase")]
            pub(crate) struct $name {
                $( #[serde(deserialize_with = "nullable")] $(#[$field_meta])* pub(crate) $field: $type, )*
            }
        )*
    };
}

/// The headers of `/_ping`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ping {
    /// `1.41`.
    pub(crate) api_version: String,
    /// `Docker/20.10.24 (linux)`, `Libpod/4.3.1 (linux)`.
    pub(crate) server: String,
}

wire! {
    /// `GET /containers/{id}/json`.
    Inspect {
        id: String,
        /// With a `/` before it.
        name: String,
        /// RFC 3339.
        created: String,
        /// The digest of the image's config.
        image: String,
        /// The program.
        path: String,
        mounts: Vec<MountPoint>,
        state: State,
        config: Config,
        host_config: HostConfig,
        network_settings: NetworkSettings,
    }
    State {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`; Podman has more.
        status: String,
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        pid: i64,
        exit_code: i64,
        error: String,
        started_at: String,
        finished_at: String,
        health: Option<Health>,
    }
    Health {
        status: String,
        failing_streak: i64,
        log: Vec<HealthLog>,
    }
    HealthLog {
        start: String,
        end: String,
        exit_code: i64,
        output: String,
    }
    Config {
        image: String,
        labels: BTreeMap<String, String>,
        tty: bool,
        open_stdin: bool,
        env: Vec<String>,
        user: String,
        working_dir: String,
        stop_signal: String,
    }
    MountPoint {
        destination: String,
    }
    HostConfig {
        init: bool,
        nano_cpus: i64,
        cpu_quota: i64,
        cpu_period: i64,
        memory: i64,
        pids_limit: i64,
        readonly_rootfs: bool,
        network_mode: String,
        storage_opt: BTreeMap<String, String>,
        /// Options by mount point.
        tmpfs: BTreeMap<String, String>,
        log_config: LogConfig,
    }
    LogConfig {
        #[serde(rename = "Type")]
        kind: String,
    }
    NetworkSettings {
        networks: BTreeMap<String, Endpoint>,
        ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    }
    Endpoint {
        #[serde(rename = "NetworkID")]
        network_id: String,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "GlobalIPv6Address")]
        ipv6_address: String,
    }
    PortBinding {
        host_ip: String,
        host_port: String,
    }
    /// An item of `GET /containers/json`.
    Summary {
        id: String,
        names: Vec<String>,
        labels: BTreeMap<String, String>,
        state: String,
        /// Epoch seconds.
        created: i64,
        host_config: HostConfig,
        network_settings: NetworkSettings,
        mounts: Vec<Mount>,
    }
    Mount {
        #[serde(rename = "Type")]
        kind: String,
        name: String,
    }
    /// `POST /containers/create`.
    Created {
        id: String,
        warnings: Vec<String>,
    }
    /// `GET /info`.
    Info {
        driver: String,
        driver_status: Vec<Vec<String>>,
        plugins: Plugins,
        memory_limit: bool,
        swap_limit: bool,
        cpu_cfs_quota: bool,
        pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        ipv4_forwarding: bool,
        kernel_version: String,
        cgroup_driver: String,
        cgroup_version: String,
        #[serde(rename = "NCPU")]
        ncpu: u64,
        mem_total: u64,
        server_version: String,
        security_options: Vec<String>,
        init_binary: String,
        warnings: Vec<String>,
        architecture: String,
        docker_root_dir: String,
        /// RFC 3339, by the engine's clock.
        system_time: String,
    }
    Plugins {
        volume: Vec<String>,
        network: Vec<String>,
        /// Log drivers.
        log: Vec<String>,
    }
    /// `GET /version`.
    Version {
        version: String,
        api_version: String,
        components: Vec<Component>,
    }
    Component {
        name: String,
        version: String,
    }
    /// `GET /volumes/{name}`, and an item of `GET /volumes`.
    Volume {
        name: String,
        driver: String,
        mountpoint: String,
        created_at: String,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    }
    /// `GET /volumes`.
    VolumeList {
        volumes: Vec<Volume>,
    }
    /// `GET /networks/{id}`, and an item of `GET /networks`.
    Network {
        id: String,
        name: String,
        created: String,
        driver: String,
        internal: bool,
        labels: BTreeMap<String, String>,
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        options: BTreeMap<String, String>,
    }
    Ipam {
        config: Vec<IpamConfig>,
    }
    IpamConfig {
        subnet: String,
        gateway: String,
    }
    /// `POST /networks/create`.
    NetworkCreated {
        id: String,
        warning: String,
    }
    /// An item of `GET /events`.
    EngineEvent {
        #[serde(rename = "Type")]
        kind: String,
        action: String,
        actor: Actor,
        #[serde(rename = "timeNano")]
        time_nano: i64,
        #[serde(rename = "time")]
        time: i64,
    }
    Actor {
        #[serde(rename = "ID")]
        id: String,
        attributes: BTreeMap<String, String>,
    }
}

impl EngineEvent {
    /// When it happened, in epoch milliseconds.
    pub(crate) fn epoch_ms(&self) -> u64 {
        let ms = if self.time_nano > 0 {
            self.time_nano / 1_000_000
        } else {
            self.time.saturating_mul(1000)
        };
        u64::try_from(ms).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn unknown_values_missing_fields_and_nulls_are_read() {
        let text = r#"{"Id":"a","State":{"Status":"hibernating","Health":null,"New":{"x":1}},"Config":{"Labels":null},
            "HostConfig":{"PidsLimit":null,"Isolation":"quantum"},"NetworkSettings":{"Ports":{"80/tcp":null}}}"#;
        let inspect: Inspect = serde_json::from_str(text).unwrap();
        assert_eq!(inspect.state.status, "hibernating");
        assert_eq!(inspect.host_config.pids_limit, 0);
        assert_eq!(inspect.network_settings.ports.get("80/tcp"), Some(&None));
    }

    #[test]
    fn an_event_has_its_time_in_milliseconds() {
        let event: EngineEvent =
            serde_json::from_str(r#"{"Type":"container","time":5,"timeNano":5123456789,"Actor":{"ID":"x"}}"#)
                .unwrap();
        assert_eq!(event.epoch_ms(), 5123);
        assert_eq!(event.actor.id, "x");
    }
}
