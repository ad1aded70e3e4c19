//! What a driver can do: one struct, everything absent by default (contract section 5).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How well something is supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SupportLevel {
    /// Not at all: it is refused.
    #[default]
    None,
    /// By other means, with the limits that the reason tells.
    Emulated,
    /// By the engine or the kernel itself.
    Native,
}

impl fmt::Display for SupportLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Emulated => "emulated",
            Self::Native => "native",
        })
    }
}

/// How well something is supported, and why not better.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Support {
    /// How well.
    pub level: SupportLevel,
    /// Why it is not native.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Support {
    /// By the engine or the kernel itself.
    pub fn native() -> Self {
        Self {
            level: SupportLevel::Native,
            reason: None,
        }
    }

    /// By other means.
    pub fn emulated(reason: impl Into<String>) -> Self {
        Self {
            level: SupportLevel::Emulated,
            reason: Some(reason.into()),
        }
    }

    /// Not at all.
    pub fn none(reason: impl Into<String>) -> Self {
        Self {
            level: SupportLevel::None,
            reason: Some(reason.into()),
        }
    }

    /// Whether it works at all.
    pub fn is_supported(&self) -> bool {
        self.level != SupportLevel::None
    }
}

macro_rules! capabilities {
    ($( $(#[$doc:meta])* $name:ident = $wire:literal; )*) => {
        /// Something that a driver may or may not support.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        pub enum Capability {
            $( $(#[$doc])* #[serde(rename = $wire)] $name, )*
        }

        impl Capability {
            /// All capabilities.
            pub const ALL: &[Self] = &[ $( Self::$name ),* ];

            /// The wire name.
            pub fn name(self) -> &'static str {
                match self { $( Self::$name => $wire ),* }
            }
        }
    };
}

capabilities! {
    /// `wait_container`.
    Wait = "wait";
    /// `signal_container`.
    Signal = "signal";
    /// `pause_container`, `resume_container`.
    Pause = "pause";
    /// `exec`.
    Exec = "exec";
    /// `exec_stream`.
    ExecStream = "execStream";
    /// `attach`, and `stdin` of a config.
    Attach = "attach";
    /// `tty` of a config or an exec.
    Tty = "tty";
    /// `stream_logs`.
    StreamLogs = "streamLogs";
    /// `container_stats`, `stream_stats`.
    Stats = "stats";
    /// `events`.
    Events = "events";
    /// `copy_into`, `copy_from`.
    Copy = "copy";
    /// `list_volumes`, `get_volume`, and named volumes in a config. `create_volume` and `remove_volume` are core.
    Volumes = "volumes";
    /// `sizeMib` of a volume.
    VolumeSize = "volumeSize";
    /// Host directories in a config.
    BindMounts = "bindMounts";
    /// `tmpfs` of a config.
    Tmpfs = "tmpfs";
    /// `list_networks`, `get_network`, and networks of `create_network` in a config.
    Networks = "networks";
    /// Network `default` in a config.
    NetworkDefault = "networkDefault";
    /// Network `host` in a config.
    NetworkHost = "networkHost";
    /// `subnet` of a network.
    NetworkSubnet = "networkSubnet";
    /// TCP `ports` of a config.
    PortsTcp = "portsTcp";
    /// UDP `ports` of a config.
    PortsUdp = "portsUdp";
    /// `hostname` of a config.
    Hostname = "hostname";
    /// `dns` of a config.
    Dns = "dns";
    /// `extraHosts` of a config.
    ExtraHosts = "extraHosts";
    /// `healthcheck` of a config.
    HealthCheck = "healthcheck";
    /// `init: true` in a config.
    Init = "init";
    /// `list_images`, `get_image`, `remove_image`.
    Images = "images";
    /// `pull_image`, and the pull policies `missing` and `always`.
    PullImage = "pullImage";
    /// `import_image`.
    ImportImage = "importImage";
    /// `snapshot_container`.
    Snapshot = "snapshot";
    /// `update_resources`.
    UpdateResources = "updateResources";
    /// `resources.cpu` is held.
    CpuLimit = "cpuLimit";
    /// `resources.memory` is held, and an exit for it is told apart.
    MemoryLimit = "memoryLimit";
    /// `resources.disk` is held while the root is writable.
    DiskLimit = "diskLimit";
    /// `resources.pids` is held.
    PidsLimit = "pidsLimit";
    /// `security.readOnly: true`.
    ReadOnlyRoot = "readOnlyRoot";
    /// `security.noNewPrivileges: true`.
    NoNewPrivileges = "noNewPrivileges";
    /// `security.user` other than the driver's own.
    User = "user";
    /// `security.capabilities`.
    LinuxCapabilities = "linuxCapabilities";
    /// `security.seccomp: default`.
    Seccomp = "seccomp";
    /// What only the driver saw outlives it: after it was opened again, `stopped` is still told apart from `exited`, and
    /// `restarts` goes on counting.
    DurableStopReason = "durableStopReason";
    /// `preflight`.
    Preflight = "preflight";
    /// `plan`.
    Plan = "plan";
    /// `recover`.
    Recover = "recover";
    /// `reap`.
    Reap = "reap";
    /// `shutdown`.
    Shutdown = "shutdown";
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a driver can do. What is not declared is not supported, and is refused.
///
/// ```
/// use driver_types::{Capabilities, Capability, Support};
///
/// let capabilities = Capabilities::none().with(Capability::Exec, Support::native());
/// assert!(capabilities.supports(Capability::Exec));
/// assert!(!capabilities.supports(Capability::Pause));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Capabilities(BTreeMap<Capability, Support>);

impl Capabilities {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything, natively: a base from which to take away.
    pub fn all() -> Self {
        Self(
            Capability::ALL
                .iter()
                .map(|capability| (*capability, Support::native()))
                .collect(),
        )
    }

    /// Declares one.
    #[must_use]
    pub fn with(mut self, capability: Capability, support: Support) -> Self {
        self.0.insert(capability, support);
        self
    }

    /// How well one is supported.
    pub fn get(&self, capability: Capability) -> Support {
        self.0
            .get(&capability)
            .cloned()
            .unwrap_or_else(|| Support::none("not declared by the driver"))
    }

    /// Whether one works at all.
    pub fn supports(&self, capability: Capability) -> bool {
        self.0.get(&capability).is_some_and(Support::is_supported)
    }

    /// Every capability with its support, in the order of the declaration.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, Support)> {
        Capability::ALL
            .iter()
            .map(|capability| (*capability, self.get(*capability)))
    }
}
