//! Cgroups of version 1 and 2 behind one type: made with their limits before anybody joins, frozen, read, removed.
//!
//! The group of a container is `driver-local/ID` below a parent that this process may use, or, with version 2, where a group
//! cannot be renamed, the prepared one that its run began in: then its name is in the journal.

mod detect;
mod devices;
mod files;
mod stats;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::io;
use std::path::PathBuf;

use driver_local_shim::Cgroup;
use driver_types::{ContainerStats, DriverError, NetworkStats, ResourceLimits, Result, Support, Violation};

pub(crate) use v1::V1;
pub(crate) use v2::V2;

/// The directory of this driver below the parent.
const OWN: &str = "driver-local";
/// How groups are called that no container has yet.
const PREPARED: &str = "prepared-";
/// The period over which cpu time is counted, in microseconds: the kernel's default.
const PERIOD_US: u64 = 100_000;
/// The least quota that the kernel takes, in microseconds.
const LEAST_QUOTA_US: u64 = 1_000;

/// The cgroups of this host, as far as this process may use them.
#[derive(Clone, Debug)]
pub(crate) enum Cgroups {
    /// Version 1: a directory for each controller.
    V1(V1),
    /// Version 2: one directory.
    V2(V2),
    /// None can be used.
    None {
        /// Why not, with the way out.
        reason: String,
    },
}

/// Groups that wait for a container. Those of a process that was killed are removed by one that looks for cgroups a minute later.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    name: String,
    /// For a process that is to be in them already.
    pub(crate) groups: Vec<Cgroup>,
}

/// How the limits are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) cpu: Support,
    pub(crate) memory: Support,
    pub(crate) pids: Support,
    pub(crate) freezer: Support,
    /// Not a limit: that what is used is counted.
    pub(crate) usage: Support,
}

impl Cgroups {
    /// Looks at what the host has mounted.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub(crate) fn detect() -> io::Result<Self> {
        detect::detect()
    }

    /// The systemd service that this process runs in.
    pub(crate) fn service() -> Option<String> {
        detect::service()
    }

    /// What it is, in a word or two.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::V1(_) => "cgroup v1",
            Self::V2(_) => "cgroup v2",
            Self::None { .. } => "no cgroups",
        }
    }

    /// How the limits are held, with reasons for what is not.
    pub(crate) fn held(&self) -> Held {
        match self {
            Self::V1(v1) => v1.held(),
            Self::V2(v2) => v2.held(),
            Self::None { reason } => {
                let none = || Support::none(reason.clone());
                Held {
                    cpu: none(),
                    memory: none(),
                    pids: none(),
                    freezer: none(),
                    usage: none(),
                }
            }
        }
    }

    /// Makes the groups of a container with its limits set, or nothing.
    ///
    /// # Errors
    ///
    /// Those of the kernel, with the file that was refused.
    pub(crate) fn create(&self, id: &str, limits: &ResourceLimits) -> io::Result<Vec<Cgroup>> {
        let created = match self {
            Self::V1(v1) => v1.create(id, limits),
            Self::V2(v2) => v2.create(id, limits),
            Self::None { .. } => return Ok(Vec::new()),
        };
        created.inspect_err(|_| {
            // The first error is the one to tell; what stays is swept by `recover`.
            let _ = self.remove(id);
        })
    }

    /// Makes groups for a container that is yet to come.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub(crate) fn prepare(&self) -> io::Result<Option<Prepared>> {
        let name = format!("{PREPARED}{}", &crate::id::random()?[..16]);
        match self {
            Self::V1(v1) => v1.make(&name)?,
            Self::V2(v2) => v2.make(&name)?,
            Self::None { .. } => return Ok(None),
        }
        let groups = self.of(&name);
        Ok(Some(Prepared { name, groups }))
    }

    /// The name that prepared groups keep as a container's, if they keep it.
    pub(crate) fn final_name(&self, prepared: &Prepared) -> Option<String> {
        matches!(self, Self::V2(_)).then(|| prepared.name.clone())
    }

    /// As [`create`](Self::create), of groups that were prepared if those can be had. Gives whether they were: then who is in
    /// them is in the container's.
    ///
    /// # Errors
    ///
    /// As of [`create`](Self::create).
    pub(crate) fn create_of(
        &self,
        prepared: Option<&Prepared>,
        id: &str,
        limits: &ResourceLimits,
    ) -> io::Result<bool> {
        match (self, prepared) {
            (Self::V1(v1), Some(prepared)) if v1.take(&prepared.name, id, limits).is_ok() => Ok(true),
            // They are there, or made again.
            (Self::V2(_), Some(prepared)) => self.create(&prepared.name, limits).map(|_| true),
            _ => self.create(id, limits).map(|_| false),
        }
    }

    /// The groups of a container, for a process that joins it.
    pub(crate) fn of(&self, id: &str) -> Vec<Cgroup> {
        match self {
            Self::V1(v1) => v1.groups(id),
            Self::V2(v2) => v2.groups(id),
            Self::None { .. } => Vec::new(),
        }
    }

    /// Changes the limits of a container, all or nothing.
    ///
    /// # Errors
    ///
    /// A configuration error that names the limit which the kernel refused (less memory than is in use).
    pub(crate) fn update(&self, id: &str, old: &ResourceLimits, new: &ResourceLimits) -> Result<()> {
        let set = |limits: &ResourceLimits, before: &ResourceLimits| match self {
            Self::V1(v1) => v1.limit(id, limits, Some(before)),
            Self::V2(v2) => v2.limit(id, limits),
            Self::None { .. } => Ok(()),
        };
        let refused = match set(new, old) {
            Ok(()) => return Ok(()),
            // It has ended meanwhile: its next run will have the new ones.
            Err(refused) if refused.error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(refused) => refused,
        };
        let undone = set(old, new);
        Err(match undone {
            Ok(()) => refused.violation(),
            Err(other) => refused
                .violation()
                .with_cleanup(DriverError::internal(other.error.to_string())),
        })
    }

    /// Freezes all processes, and returns when they are. Where one does not freeze, none is.
    ///
    /// # Errors
    ///
    /// Those of the kernel; `NotFound` where the group is gone; `TimedOut` where a process does not freeze.
    pub(crate) fn freeze(&self, id: &str) -> io::Result<()> {
        let frozen = match self {
            Self::V1(v1) => v1.freeze(id),
            Self::V2(v2) => v2.freeze(id),
            Self::None { reason } => Err(unsupported(reason)),
        };
        frozen.inspect_err(|_| {
            // The first error is the one to tell.
            let _ = self.thaw(id);
        })
    }

    /// Lets them go on.
    ///
    /// # Errors
    ///
    /// As of [`freeze`](Self::freeze).
    pub(crate) fn thaw(&self, id: &str) -> io::Result<()> {
        match self {
            Self::V1(v1) => v1.thaw(id),
            Self::V2(v2) => v2.thaw(id),
            Self::None { reason } => Err(unsupported(reason)),
        }
    }

    /// Sends SIGKILL to all processes, frozen or not. Does not wait for their end.
    fn kill(&self, id: &str) {
        match self {
            Self::V1(v1) => v1.kill(id),
            Self::V2(v2) => v2.kill(id),
            Self::None { .. } => {}
        }
    }

    /// What the processes use. A counter that the host lacks is absent.
    ///
    /// # Errors
    ///
    /// `NotFound` where the group is gone.
    pub(crate) fn stats(&self, id: &str) -> io::Result<ContainerStats> {
        match self {
            Self::V1(v1) => v1.stats(id),
            Self::V2(v2) => v2.stats(id),
            Self::None { .. } => Ok(ContainerStats::default()),
        }
    }

    /// What the network interfaces of a process's namespace have carried, without the loopback one.
    pub(crate) fn network_stats(&self, pid: i32) -> Option<NetworkStats> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
        Some(stats::network(&text))
    }

    /// Removes the groups of a container; processes that are still in them, frozen or not, are killed. A repeat does
    /// nothing.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub(crate) fn remove(&self, id: &str) -> io::Result<()> {
        for directory in self.directories(id) {
            files::remove(&directory, &|| self.kill(id))?;
        }
        Ok(())
    }

    fn directories(&self, id: &str) -> Vec<PathBuf> {
        match self {
            Self::V1(v1) => v1.directories(id),
            Self::V2(v2) => vec![v2.directory(id)],
            Self::None { .. } => Vec::new(),
        }
    }
}

/// A limit that the kernel did not take.
#[derive(Debug)]
struct Refused {
    /// Its JSON pointer in the limits.
    field: &'static str,
    error: io::Error,
}

impl Refused {
    fn of(field: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { field, error }
    }

    fn violation(&self) -> DriverError {
        let hint = match self.field {
            "/memory" => "use at least what the container uses now",
            _ => "use no more than the cgroup of the driver has",
        };
        let violation = Violation::new(
            self.field,
            format!("the kernel refuses the limit: {}", self.error),
        );
        DriverError::violations(vec![violation.with_hint(hint)])
    }
}

fn unsupported(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

/// The quota in microseconds of a period for so many cores.
fn quota_us(cores: f64) -> u64 {
    // Validation allows 0.01 to 65536 cores.
    ((cores * PERIOD_US as f64).round() as u64).max(LEAST_QUOTA_US)
}

/// MiB in bytes.
fn bytes(mib: u64) -> u64 {
    mib.saturating_mul(ResourceLimits::MIB)
}
