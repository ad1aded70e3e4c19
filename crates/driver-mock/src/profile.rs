//! The two kinds of engine that a world can simulate.

use driver_types::{
    Capabilities, Capability, CheckStatus, ContainerConfig, Enforcement, Preflight, PreflightCheck, Support,
};
use serde::{Deserialize, Serialize};

/// Which engine a world behaves like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A Docker Engine on ext4: no disk quotas, a memory of stops that lasts as long as the driver.
    Docker,
    /// A daemonless runtime on one host: disk quotas, no own name servers, subnets, UDP ports or snapshots.
    Local,
}

impl Profile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Local];

    /// The name of the driver.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "mock-docker",
            Self::Local => "mock-local",
        }
    }

    /// What the engine calls itself.
    pub(crate) const fn engine(self) -> &'static str {
        match self {
            Self::Docker => "simulated Docker Engine",
            Self::Local => "simulated local runtime",
        }
    }

    /// What the engine can do.
    pub fn capabilities(self) -> Capabilities {
        let without = |missing: &[(Capability, &str)]| {
            missing.iter().fold(simulated(), |all, (capability, reason)| {
                all.with(*capability, Support::none(*reason))
            })
        };
        match self {
            Self::Docker => without(&[
                (
                    Capability::DiskLimit,
                    "the storage driver has no quotas on this file system",
                ),
                (
                    Capability::VolumeSize,
                    "the local volume driver has no quotas on this file system",
                ),
                (
                    Capability::DurableStopReason,
                    "the engine does not remember whether a stop was asked for",
                ),
            ]),
            Self::Local => without(&[
                (Capability::PortsUdp, "only TCP is forwarded"),
                (
                    Capability::NetworkSubnet,
                    "address ranges are chosen by the driver",
                ),
                (Capability::Dns, "containers use the name servers of the host"),
                (Capability::Snapshot, "layers are not kept apart"),
            ]),
        }
    }

    /// How the limits of a container are held.
    pub(crate) fn enforcement(self, config: &ContainerConfig, capabilities: &Capabilities) -> Enforcement {
        let disk = match self {
            _ if config.security.read_only => Support::native(),
            Self::Docker => capabilities.get(Capability::DiskLimit),
            Self::Local => Support::native(),
        };
        Enforcement {
            cpu: Support::native(),
            memory: Support::native(),
            disk,
            pids: Support::native(),
        }
    }

    /// What the simulated host has and lacks.
    pub(crate) fn preflight(self, reachable: bool) -> Preflight {
        let check = |name: &str, status, message: &str, remedy: Option<&str>| PreflightCheck {
            name: name.to_owned(),
            status,
            message: message.to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let engine = if reachable {
            check("engine", CheckStatus::Ok, self.engine(), None)
        } else {
            check(
                "engine",
                CheckStatus::Fail,
                "the simulated engine is down",
                Some("call `World::engine_up`"),
            )
        };
        let quota = match self {
            Self::Docker => check(
                "disk quotas",
                CheckStatus::Warn,
                "the file system has no project quotas",
                Some("put the engine's data on xfs mounted with pquota"),
            ),
            Self::Local => check("disk quotas", CheckStatus::Ok, "available", None),
        };
        let cgroups = check(
            "cgroups",
            CheckStatus::Ok,
            "cpu, memory and pids can be limited",
            None,
        );
        Preflight {
            checks: vec![engine, cgroups, quota],
        }
    }
}

/// What any simulation can do.
fn simulated() -> Capabilities {
    let reason = "the files of this machine are no part of a simulated world; see `hostFiles` of the script";
    Capabilities::all().with(Capability::BindMounts, Support::none(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_lacks_what_the_other_has() {
        let [docker, local] = Profile::ALL.map(Profile::capabilities);
        let lacks = |one: &Capabilities, other: &Capabilities| {
            Capability::ALL
                .iter()
                .any(|capability| !one.supports(*capability) && other.supports(*capability))
        };
        assert!(lacks(&docker, &local) && lacks(&local, &docker));
        for capability in Capability::ALL {
            for profile in [&docker, &local] {
                let support = profile.get(*capability);
                assert!(support.is_supported() || support.reason.is_some());
            }
        }
    }
}
