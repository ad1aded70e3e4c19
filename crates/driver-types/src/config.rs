//! What a caller asks for when it creates a container.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::{
    Env, HealthCheckConfig, PortMapping, ResourceLimits, SecurityOptions, Signal, TmpfsMount, VolumeMount,
};

/// Labels by key. Keys that begin with `openagent.` are the drivers' own.
pub type Labels = BTreeMap<String, String>;

/// A container to create (contract section 1). The defaults are the secure ones.
///
/// ```
/// use driver_types::{ContainerConfig, ResourceLimits};
///
/// let config = ContainerConfig::new("session-1", "python:3.13")
///     .command(["python", "-c", "print(40 + 2)"])
///     .resources(ResourceLimits::default().memory(256));
/// assert_eq!(config.network, "none");
/// assert!(config.security.read_only);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerConfig {
    /// The session it belongs to: 1 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))
    )]
    pub session_id: String,
    /// An OCI image reference (`name[:tag][@digest]`), or a name that the driver reserves.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    pub image: String,
    /// 2 to 128 of the same characters, unique in the driver; absent: the driver chooses.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]+$"))
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Idempotency key: a repeat with an equal config returns the same container. 1 to 128 of the same characters.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The entrypoint as argv; absent: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command as argv; absent: the image's, or none where `entrypoint` is set (as in Docker and Kubernetes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The working directory, absolute; absent: the image's.
    #[cfg_attr(feature = "schema", schemars(length(max = 4096), regex(pattern = "^/")))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Environment variables, beside the image's. Names match `[A-Za-z_][A-Za-z0-9_]*`; 1 MiB in total.
    #[serde(default, skip_serializing_if = "env_is_empty")]
    pub env: Env,
    /// Labels. Keys up to 256 bytes, values up to 4 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Resource limits.
    #[serde(default)]
    pub resources: ResourceLimits,
    /// Host directories and named volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMount>,
    /// File systems in memory; absent: `/tmp` of 64 MiB when the root is read-only, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<Vec<TmpfsMount>>,
    /// Ports to publish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// `none`, `host`, `default` (a bridge of the driver's with outbound NAT), or a network of `create_network`.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))
    )]
    #[serde(default = "network_none")]
    pub network: String,
    /// The host name inside; absent: the driver chooses.
    #[cfg_attr(
        feature = "schema",
        schemars(
            length(max = 63),
            regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$")
        )
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Addresses of name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Further host names, with their addresses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: BTreeMap<String, String>,
    /// How it is confined.
    #[serde(default)]
    pub security: SecurityOptions,
    /// How its health is checked; absent: as the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheckConfig>,
    /// Run a pid 1 that reaps zombies and forwards signals. It counts as one of `resources.pids`.
    #[serde(default = "yes")]
    pub init: bool,
    /// Keep the main process's stdin open for `attach`.
    #[serde(default)]
    pub stdin: bool,
    /// Give the main process a terminal; stdout and stderr are then one stream.
    #[serde(default)]
    pub tty: bool,
    /// What `stop_container` sends first; absent: SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<Signal>,
    /// When the image is pulled.
    #[serde(default)]
    pub pull_policy: PullPolicy,
}

fn network_none() -> String {
    ContainerConfig::NETWORK_NONE.to_owned()
}

fn yes() -> bool {
    true
}

fn env_is_empty(env: &Env) -> bool {
    env.is_empty()
}

/// When `create_container` pulls the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Never: a missing image is an error.
    Never,
    /// When it is not here.
    #[default]
    Missing,
    /// Each time.
    Always,
}

impl ContainerConfig {
    /// The network with a loopback interface only: the default.
    pub const NETWORK_NONE: &str = "none";
    /// The host's own network.
    pub const NETWORK_HOST: &str = "host";
    /// The driver's bridge with outbound NAT.
    pub const NETWORK_DEFAULT: &str = "default";
    /// The tmpfs that a container with a read-only root gets where the config does not say.
    pub const DEFAULT_TMPFS: (&str, u64) = ("/tmp", 64);

    /// A config with the secure defaults.
    pub fn new(session_id: impl Into<String>, image: impl Into<String>) -> Self {
        Self {
            session_id: session_id.into(),
            image: image.into(),
            name: None,
            request_id: None,
            entrypoint: None,
            command: None,
            working_dir: None,
            env: Env::default(),
            labels: Labels::new(),
            resources: ResourceLimits::default(),
            volumes: Vec::new(),
            tmpfs: None,
            ports: Vec::new(),
            network: network_none(),
            hostname: None,
            dns: Vec::new(),
            extra_hosts: BTreeMap::new(),
            security: SecurityOptions::default(),
            healthcheck: None,
            init: true,
            stdin: false,
            tty: false,
            stop_signal: None,
            pull_policy: PullPolicy::default(),
        }
    }

    /// The tmpfs mounts to make: those given, or the default of a read-only root.
    pub fn effective_tmpfs(&self) -> &[TmpfsMount] {
        static DEFAULT: LazyLock<[TmpfsMount; 1]> = LazyLock::new(|| {
            let (target, size_mib) = ContainerConfig::DEFAULT_TMPFS;
            [TmpfsMount {
                target: target.to_owned(),
                size_mib,
            }]
        });
        let (target, _) = Self::DEFAULT_TMPFS;
        match &self.tmpfs {
            Some(mounts) => mounts,
            // A volume at /tmp is what the caller wants there.
            None if self.security.read_only && self.volumes.iter().all(|volume| volume.target != target) => {
                &*DEFAULT
            }
            None => &[],
        }
    }

    /// The signal that `stop_container` sends first.
    pub fn effective_stop_signal(&self) -> Signal {
        self.stop_signal.unwrap_or(Signal::TERM)
    }
}

/// Setters, one a field.
impl ContainerConfig {
    /// Sets the name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn request_id(self, request_id: impl Into<String>) -> Self {
        Self {
            request_id: Some(request_id.into()),
            ..self
        }
    }

    /// Sets the entrypoint.
    #[must_use]
    pub fn entrypoint<S: Into<String>>(self, argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            entrypoint: Some(argv.into_iter().map(Into::into).collect()),
            ..self
        }
    }

    /// Sets the command.
    #[must_use]
    pub fn command<S: Into<String>>(self, argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: Some(argv.into_iter().map(Into::into).collect()),
            ..self
        }
    }

    /// Sets the working directory.
    #[must_use]
    pub fn working_dir(self, path: impl Into<String>) -> Self {
        Self {
            working_dir: Some(path.into()),
            ..self
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Sets the resource limits.
    #[must_use]
    pub fn resources(self, resources: ResourceLimits) -> Self {
        Self { resources, ..self }
    }

    /// Adds a volume.
    #[must_use]
    pub fn volume(mut self, volume: VolumeMount) -> Self {
        self.volumes.push(volume);
        self
    }

    /// Adds a file system in memory; the default one at `/tmp` then goes away.
    #[must_use]
    pub fn tmpfs(mut self, target: impl Into<String>, size_mib: u64) -> Self {
        self.tmpfs.get_or_insert_default().push(TmpfsMount {
            target: target.into(),
            size_mib,
        });
        self
    }

    /// Publishes a port.
    #[must_use]
    pub fn port(mut self, port: PortMapping) -> Self {
        self.ports.push(port);
        self
    }

    /// Sets the network.
    #[must_use]
    pub fn network(self, network: impl Into<String>) -> Self {
        Self {
            network: network.into(),
            ..self
        }
    }

    /// Sets the host name.
    #[must_use]
    pub fn hostname(self, hostname: impl Into<String>) -> Self {
        Self {
            hostname: Some(hostname.into()),
            ..self
        }
    }

    /// Adds a name server.
    #[must_use]
    pub fn dns(mut self, address: impl Into<String>) -> Self {
        self.dns.push(address.into());
        self
    }

    /// Adds a host name with its address.
    #[must_use]
    pub fn extra_host(mut self, name: impl Into<String>, address: impl Into<String>) -> Self {
        self.extra_hosts.insert(name.into(), address.into());
        self
    }

    /// Sets how it is confined.
    #[must_use]
    pub fn security(self, security: SecurityOptions) -> Self {
        Self { security, ..self }
    }

    /// Sets the health check.
    #[must_use]
    pub fn healthcheck(self, healthcheck: HealthCheckConfig) -> Self {
        Self {
            healthcheck: Some(healthcheck),
            ..self
        }
    }

    /// Sets whether a pid 1 of the driver's runs.
    #[must_use]
    pub fn init(self, init: bool) -> Self {
        Self { init, ..self }
    }

    /// Sets whether stdin stays open.
    #[must_use]
    pub fn stdin(self, stdin: bool) -> Self {
        Self { stdin, ..self }
    }

    /// Sets whether the main process has a terminal.
    #[must_use]
    pub fn tty(self, tty: bool) -> Self {
        Self { tty, ..self }
    }

    /// Sets the first signal of a stop.
    #[must_use]
    pub fn stop_signal(self, signal: Signal) -> Self {
        Self {
            stop_signal: Some(signal),
            ..self
        }
    }

    /// Sets when the image is pulled.
    #[must_use]
    pub fn pull_policy(self, pull_policy: PullPolicy) -> Self {
        Self { pull_policy, ..self }
    }
}
