//! Cgroups of version 1 and 2 behind one type: made with their limits before anybody joins, frozen, read, removed.
//!
//! The group of a container is `driver-local/ID` below a parent that this process may use. Its path follows from the id, so
//! that a sweep needs nothing else.

mod detect;
mod files;
mod stats;
mod v1;
mod v2;

use std::io;
use std::path::PathBuf;

use driver_local_shim::Cgroup;
use driver_types::{ContainerStats, DriverError, NetworkStats, ResourceLimits, Result, Support};

pub(crate) use v1::V1;
pub(crate) use v2::V2;

/// The directory of this driver below the parent.
const OWN: &str = "driver-local";
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

/// How the limits are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) cpu: Support,
    pub(crate) memory: Support,
    pub(crate) pids: Support,
    pub(crate) freezer: Support,
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
        let Err(error) = set(new, old) else {
            return Ok(());
        };
        let undone = set(old, new);
        let violation =
            driver_types::Violation::new("/memory", format!("the kernel refuses the new limits: {error}"));
        let refused = DriverError::violations(vec![
            violation.with_hint("use at least what the container uses now"),
        ]);
        Err(match undone {
            Ok(()) => refused,
            Err(error) => refused.with_cleanup(DriverError::internal(error.to_string())),
        })
    }

    /// Freezes all processes, and returns when they are.
    ///
    /// # Errors
    ///
    /// Those of the kernel; `NotFound` where the group is gone; `TimedOut` where a process does not freeze.
    pub(crate) fn freeze(&self, id: &str) -> io::Result<()> {
        self.set_frozen(id, true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    ///
    /// As of [`freeze`](Self::freeze).
    pub(crate) fn thaw(&self, id: &str) -> io::Result<()> {
        self.set_frozen(id, false)
    }

    fn set_frozen(&self, id: &str, frozen: bool) -> io::Result<()> {
        match self {
            Self::V1(v1) => v1.set_frozen(id, frozen),
            Self::V2(v2) => v2.set_frozen(id, frozen),
            Self::None { reason } => Err(io::Error::new(io::ErrorKind::Unsupported, reason.clone())),
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

    /// Removes the groups of a container; processes that are still in them are killed. A repeat does nothing.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub(crate) fn remove(&self, id: &str) -> io::Result<()> {
        for directory in self.directories(id) {
            files::remove(&directory)?;
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

/// The quota in microseconds of a period for so many cores.
fn quota_us(cores: f64) -> u64 {
    // Validation allows 0.01 to 65536 cores.
    ((cores * PERIOD_US as f64).round() as u64).max(LEAST_QUOTA_US)
}

/// MiB in bytes.
fn bytes(mib: u64) -> u64 {
    mib.saturating_mul(ResourceLimits::MIB)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case(0.5, 50_000)]
    #[case(2.0, 200_000)]
    #[case(0.01, 1_000)]
    #[case(0.015, 1_500)]
    fn quotas(#[case] cores: f64, #[case] expected: u64) {
        assert_eq!(quota_us(cores), expected);
    }

    /// On the real kernel, whichever version it has.
    #[test]
    fn groups_are_made_with_their_limits_changed_frozen_read_and_removed() {
        let cgroups = Cgroups::detect().unwrap();
        if !rustix::process::geteuid().is_root() || matches!(cgroups, Cgroups::None { .. }) {
            eprintln!("skipped: {} for this user", cgroups.name());
            return;
        }
        let id = crate::id::random().unwrap();
        let limits = ResourceLimits::default().memory(64).pids(20);
        assert!(!cgroups.create(&id, &limits).unwrap().is_empty());
        let read = cgroups.stats(&id).unwrap();
        assert_eq!(read.memory.limit_bytes, Some(64 << 20));
        assert_eq!(read.pids.limit, Some(20));
        let more = limits.memory(128).cpu(1.5);
        cgroups.update(&id, &limits, &more).unwrap();
        assert_eq!(cgroups.stats(&id).unwrap().memory.limit_bytes, Some(128 << 20));
        cgroups.update(&id, &more, &limits).unwrap();
        cgroups.freeze(&id).unwrap();
        cgroups.thaw(&id).unwrap();
        cgroups.remove(&id).unwrap();
        cgroups.remove(&id).unwrap();
        assert!(
            cgroups
                .directories(&id)
                .iter()
                .all(|directory| !directory.exists())
        );
        assert_eq!(cgroups.stats(&id).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
