//! What goes wrong in a world.

use driver_types::{DriverError, Operation};
use serde::{Deserialize, Serialize};

/// Something that goes wrong: with one call of an operation, with all of them, or with the driver's honesty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Fault {
    /// The call fails with this error and has no effect.
    Error {
        /// The operation.
        operation: Operation,
        /// The call, counted from 1 since the world was made or reset; absent: every call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u64>,
        /// The error.
        error: DriverError,
    },
    /// The call is never answered and has no effect; only a deadline ends it.
    Hang {
        /// The operation.
        operation: Operation,
        /// The call, as above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u64>,
    },
    /// The call has its effect, but the connection breaks before the reply: NETWORK_ERROR.
    Drop {
        /// The operation.
        operation: Operation,
        /// The call, as above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u64>,
    },
    /// A `create_container` dies half-way, as with the process that had the driver: the call fails, and an object that
    /// is not listed stays behind until `recover` reports it and `reap` removes it.
    PartialCreate {
        /// The call, as above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u64>,
    },
    /// The driver does not do what it says, to see whether a test notices.
    Lie {
        /// What it does instead.
        lie: Lie,
    },
}

impl Fault {
    /// Every call of the operation fails with this error.
    pub fn error(operation: Operation, error: DriverError) -> Self {
        Self::Error {
            operation,
            nth: None,
            error,
        }
    }

    /// Every call of the operation hangs.
    pub fn hang(operation: Operation) -> Self {
        Self::Hang { operation, nth: None }
    }

    /// Every call of the operation has its effect and loses its reply.
    pub fn drop_reply(operation: Operation) -> Self {
        Self::Drop { operation, nth: None }
    }

    /// Only the nth call, counted from 1. No effect on a lie.
    #[must_use]
    pub fn nth(mut self, call: u64) -> Self {
        match &mut self {
            Self::Error { nth, .. }
            | Self::Hang { nth, .. }
            | Self::Drop { nth, .. }
            | Self::PartialCreate { nth } => {
                *nth = Some(call);
            }
            Self::Lie { .. } => {}
        }
        self
    }

    /// The operation and the call that it is about; `None` for a lie.
    pub(crate) fn applies_to(&self) -> Option<(Operation, Option<u64>)> {
        match self {
            Self::Error { operation, nth, .. }
            | Self::Hang { operation, nth }
            | Self::Drop { operation, nth } => Some((*operation, *nth)),
            Self::PartialCreate { nth } => Some((Operation::CreateContainer, *nth)),
            Self::Lie { .. } => None,
        }
    }
}

macro_rules! lies {
    ($( $(#[$doc:meta])* $name:ident, )*) => {
        /// A way in which a driver may break the contract without failing. Each belongs to a group of the conformance
        /// suite, which must notice it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "camelCase")]
        #[non_exhaustive]
        pub enum Lie {
            $( $(#[$doc])* $name, )*
        }

        impl Lie {
            /// All lies.
            pub const ALL: &[Self] = &[ $( Self::$name ),* ];
        }
    };
}

lies! {
    /// `config`: configs are not validated.
    SkipValidation,
    /// `create`: labels of the config are forgotten.
    ForgetLabels,
    /// `start`: the exit of the run before stays.
    KeepExitOnRestart,
    /// `start`: `restarts` is not counted.
    ForgetRestarts,
    /// `stop`: returns while the process still runs.
    StopWithoutWaiting,
    /// `stop`: every stop kills at once.
    StopAlwaysKills,
    /// `remove`: a running container is removed without force.
    RemoveRunning,
    /// `remove`: named volumes go with their container.
    RemoveNamedVolumes,
    /// `state`, `reference model`: what the state table refuses does nothing, and succeeds.
    IgnoreStateTable,
    /// `query`: newest first.
    ListNewestFirst,
    /// `query`: filters are ignored.
    IgnoreFilters,
    /// `logs`: the last line is lost.
    LoseLastLogLine,
    /// `logs`: stderr is reported as stdout.
    MixUpStreams,
    /// `wait`: the exit code is one too high.
    WrongExitCode,
    /// `wait`: returns at once, whether the run has ended or not.
    WaitReturnsEarly,
    /// `signal`: signals are accepted and not delivered.
    DropSignals,
    /// `pause`: the status changes, the processes run on.
    PauseWithoutFreezing,
    /// `exec`: a time-out is reported, the processes live on.
    ExecTimeoutLeavesTree,
    /// `exec`: the exit code is always 0.
    ExecHidesExitCode,
    /// `exec_stream`: the exit comes first.
    StreamExitFirst,
    /// `exec_stream`: input is swallowed.
    SwallowStdin,
    /// `attach`: closing the handle kills the container.
    AttachKills,
    /// `files`: the last byte of a copied file is lost.
    TruncateCopies,
    /// `files`: a symbolic link that leads out is not stopped at the root, and an entry with `..` is accepted.
    AllowPathEscape,
    /// `stats`: every counter is 0.
    ZeroStats,
    /// `events`: exits are not reported.
    LoseExitEvents,
    /// `limits`: memory is not limited.
    IgnoreMemoryLimit,
    /// `limits`: an exit for memory looks like a plain SIGKILL.
    HideOom,
    /// `limits`: the number of processes is not limited.
    IgnorePidsLimit,
    /// `limits`: processor time is not limited.
    IgnoreCpuLimit,
    /// `limits`: capacity is not checked.
    IgnoreCapacity,
    /// `security`: everything runs as root.
    RunAsRoot,
    /// `security`: no capability is dropped.
    KeepCapabilities,
    /// `security`: the root is writable.
    WritableRoot,
    /// `security`: system calls are not filtered.
    NoSeccomp,
    /// `volumes`: a volume in use is removed.
    RemoveVolumesInUse,
    /// `volumes`: what is written to a volume is forgotten.
    ForgetVolumeContent,
    /// `networks`: members of different networks reach each other.
    IgnoreNetworkIsolation,
    /// `networks`: a network in use is removed.
    RemoveNetworksInUse,
    /// `ports`: the port that is read back is another one.
    WrongHostPort,
    /// `images`: an import is not listed.
    ForgetImports,
    /// `images`: a missing image is not an error under `pullPolicy: never`.
    PullAgainstPolicy,
    /// `health`: every container is healthy.
    AlwaysHealthy,
    /// `capabilities`: what is not declared is accepted and ignored.
    AcceptUndeclared,
    /// `errors`: every error is INTERNAL_ERROR.
    UntypedErrors,
    /// `idempotence`: request ids are ignored.
    IgnoreRequestId,
    /// `concurrency`: of several callers at once all but the first fail.
    FailRaces,
    /// `recovery`: a driver that is opened again sees nothing of before.
    ForgetOnReopen,
    /// `recovery`: objects of other owners are seen.
    IgnoreOwner,
    /// `cleanup`: a failed create leaves a container behind.
    LeakOnFailedCreate,
}

/// The lies of a script, for a quick look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lies(u64);

impl Lies {
    pub(crate) fn of(faults: &[Fault]) -> Self {
        faults.iter().fold(Self(0), |lies, fault| match fault {
            Fault::Lie { lie } => Self(lies.0 | 1 << *lie as u64),
            _ => lies,
        })
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn has(self, lie: Lie) -> bool {
        self.0 & (1 << lie as u64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lie_has_a_bit_of_its_own() {
        assert!(Lie::ALL.len() <= 64);
        for lie in Lie::ALL {
            let lies = Lies::of(&[Fault::Lie { lie: *lie }]);
            assert_eq!(Lie::ALL.iter().filter(|other| lies.has(**other)).count(), 1);
        }
    }
}
