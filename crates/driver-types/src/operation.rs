//! The operation table: every operation of the contract, declared once.
//!
//! The trait, layers, audit, permissions, the remote protocol, the command line and the docs read this table; none
//! keeps a list of its own.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Capability;

/// Whether a caller or a layer may repeat a call whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// A repeat does no harm.
    Safe,
    /// Only with a `requestId`.
    WithRequestId,
    /// Never: it would be done twice.
    Never,
}

/// One row of the operation table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationInfo {
    /// The name of the trait's method.
    pub name: &'static str,
    /// The name on the wire.
    pub wire_name: &'static str,
    /// The type of the request body, beside the id; empty: none.
    pub request: &'static str,
    /// The type of the response; in brackets: a stream of them; empty: none.
    pub response: &'static str,
    /// Whether it changes anything.
    pub mutating: bool,
    /// Whether it may be repeated.
    pub repeat: Repeat,
    /// The capability that it needs; `None`: every driver has it.
    pub capability: Option<Capability>,
    /// The permission that it needs.
    pub permission: &'static str,
    /// Its deadline unless the caller sets one; `None`: it lasts as long as what it watches. For a stream: until the
    /// first item may come. The grace time of a stop is added to it.
    pub deadline: Option<Duration>,
}

const fn seconds(seconds: u64) -> Option<Duration> {
    if seconds == 0 {
        None
    } else {
        Some(Duration::from_secs(seconds))
    }
}

macro_rules! operations {
    ($(
        $variant:ident $name:literal $wire:literal
        ($request:literal -> $response:literal) $mutating:ident $repeat:ident $capability:expr, $permission:literal, $seconds:literal;
    )*) => {
        /// An operation of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        pub enum Operation {
            $( #[doc = concat!("`", $name, "`.")] #[serde(rename = $wire)] $variant, )*
        }

        impl Operation {
            /// All operations, in the order of the contract.
            pub const ALL: &[Self] = &[ $( Self::$variant ),* ];

            /// This operation's row of the table.
            pub const fn info(self) -> OperationInfo {
                match self {
                    $( Self::$variant => OperationInfo {
                        name: $name,
                        wire_name: $wire,
                        request: $request,
                        response: $response,
                        mutating: operations!(@ $mutating),
                        repeat: Repeat::$repeat,
                        capability: $capability,
                        permission: $permission,
                        deadline: seconds($seconds),
                    }, )*
                }
            }
        }
    };
    (@ writes) => { true };
    (@ reads) => { false };
}

use Capability as C;

operations! {
    CreateContainer "create_container" "createContainer" ("ContainerConfig" -> "ContainerInstance") writes WithRequestId None, "container:create", 600;
    StartContainer "start_container" "startContainer" ("" -> "") writes Safe None, "container:start", 120;
    StopContainer "stop_container" "stopContainer" ("StopOptions" -> "") writes Safe None, "container:stop", 60;
    RemoveContainer "remove_container" "removeContainer" ("RemoveOptions" -> "") writes Safe None, "container:remove", 120;
    GetContainer "get_container" "getContainer" ("" -> "ContainerInstance") reads Safe None, "container:read", 30;
    ListContainers "list_containers" "listContainers" ("ContainerFilter" -> "ContainerInstance[]") reads Safe None, "container:read", 60;
    GetContainerLogs "get_container_logs" "getContainerLogs" ("LogOptions" -> "string") reads Safe None, "container:logs", 120;
    HealthCheck "health_check" "healthCheck" ("" -> "DriverHealth") reads Safe None, "driver:read", 10;
    IsContainerHealthy "is_container_healthy" "isContainerHealthy" ("" -> "boolean") reads Safe None, "container:read", 30;
    CreateVolume "create_volume" "createVolume" ("VolumeConfig" -> "Volume") writes Safe None, "volume:create", 60;
    RemoveVolume "remove_volume" "removeVolume" ("" -> "") writes Safe None, "volume:remove", 60;
    CreateNetwork "create_network" "createNetwork" ("NetworkConfig" -> "Network") writes Safe None, "network:create", 60;
    RemoveNetwork "remove_network" "removeNetwork" ("" -> "") writes Safe None, "network:remove", 60;

    WaitContainer "wait_container" "waitContainer" ("WaitCondition" -> "ExitInfo") reads Safe Some(C::Wait), "container:read", 0;
    SignalContainer "signal_container" "signalContainer" ("Signal" -> "") writes Never Some(C::Signal), "container:stop", 30;
    PauseContainer "pause_container" "pauseContainer" ("" -> "") writes Safe Some(C::Pause), "container:pause", 60;
    ResumeContainer "resume_container" "resumeContainer" ("" -> "") writes Safe Some(C::Pause), "container:pause", 60;
    Exec "exec" "exec" ("ExecSpec" -> "ExecResult") writes Never Some(C::Exec), "container:exec", 0;
    ExecStream "exec_stream" "execStream" ("ExecSpec" -> "[ProcessFrame]") writes Never Some(C::ExecStream), "container:exec", 60;
    Attach "attach" "attach" ("" -> "[ProcessFrame]") writes Never Some(C::Attach), "container:attach", 60;
    StreamLogs "stream_logs" "streamLogs" ("LogOptions" -> "[LogFrame]") reads Safe Some(C::StreamLogs), "container:logs", 60;
    ContainerStats "container_stats" "containerStats" ("" -> "ContainerStats") reads Safe Some(C::Stats), "container:read", 30;
    StreamStats "stream_stats" "streamStats" ("intervalMs" -> "[ContainerStats]") reads Safe Some(C::Stats), "container:read", 60;
    Events "events" "events" ("EventFilter" -> "[Event]") reads Safe Some(C::Events), "driver:events", 60;
    CopyInto "copy_into" "copyInto" ("tar" -> "") writes Safe Some(C::Copy), "container:copy", 600;
    CopyFrom "copy_from" "copyFrom" ("path" -> "tar") reads Safe Some(C::Copy), "container:copy", 60;
    ListVolumes "list_volumes" "listVolumes" ("" -> "Volume[]") reads Safe Some(C::Volumes), "volume:read", 60;
    GetVolume "get_volume" "getVolume" ("" -> "Volume") reads Safe Some(C::Volumes), "volume:read", 30;
    ListNetworks "list_networks" "listNetworks" ("" -> "Network[]") reads Safe Some(C::Networks), "network:read", 60;
    GetNetwork "get_network" "getNetwork" ("" -> "Network") reads Safe Some(C::Networks), "network:read", 30;
    PullImage "pull_image" "pullImage" ("PullRequest" -> "[PullProgress]") writes Safe Some(C::PullImage), "image:pull", 60;
    ImportImage "import_image" "importImage" ("ImportOptions" -> "Image") writes Safe Some(C::ImportImage), "image:import", 600;
    ListImages "list_images" "listImages" ("" -> "Image[]") reads Safe Some(C::Images), "image:read", 60;
    GetImage "get_image" "getImage" ("" -> "Image") reads Safe Some(C::Images), "image:read", 30;
    RemoveImage "remove_image" "removeImage" ("" -> "") writes Safe Some(C::Images), "image:remove", 120;
    UpdateResources "update_resources" "updateResources" ("ResourceLimits" -> "") writes Safe Some(C::UpdateResources), "container:update", 60;
    SnapshotContainer "snapshot_container" "snapshotContainer" ("reference" -> "Image") writes Safe Some(C::Snapshot), "container:snapshot", 600;
    Capabilities "capabilities" "capabilities" ("" -> "Capabilities") reads Safe None, "driver:read", 30;
    Preflight "preflight" "preflight" ("" -> "Preflight") reads Safe Some(C::Preflight), "driver:read", 60;
    Plan "plan" "plan" ("ContainerConfig" -> "Plan") reads Safe Some(C::Plan), "container:create", 60;
    Recover "recover" "recover" ("" -> "RecoveryReport") writes Safe Some(C::Recover), "driver:admin", 300;
    Reap "reap" "reap" ("ReapPolicy" -> "ReapReport") writes Safe Some(C::Reap), "driver:admin", 600;
    Shutdown "shutdown" "shutdown" ("ShutdownMode" -> "") writes Safe Some(C::Shutdown), "driver:admin", 600;
}

impl Operation {
    /// The name of the trait's method; also the `operation` of an error.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The operation of this method name or wire name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|operation| [operation.info().name, operation.info().wire_name].contains(&name))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
