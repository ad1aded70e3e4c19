//! Rules for resource limits, and the check against what a driver has.

use driver_errors::{DriverError, Result};
use driver_types::ResourceLimits;

use crate::report::{At, Report};
use crate::text::range;

const MIN_CPU: f64 = 0.01;
const MAX_CPU: f64 = 65_536.0;
const MAX_MIB: u64 = 8_796_093_022_207;
const MAX_PIDS: u64 = 4_194_304;

/// What a driver can give to one container. `None`: not known, and not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capacity {
    /// Cores.
    pub cpu: Option<f64>,
    /// Memory in MiB.
    pub memory: Option<u64>,
    /// Disk in MiB.
    pub disk: Option<u64>,
    /// Processes.
    pub pids: Option<u64>,
}

/// Checks limits against a driver's capacity.
///
/// # Errors
///
/// `RESOURCE_LIMIT_EXCEEDED` for the first of cpu, memory, disk and pids that is too much, with the limit and the
/// request.
pub fn check_capacity(limits: &ResourceLimits, capacity: &Capacity) -> Result<()> {
    let number = |value: u64| value as f64;
    let checks = [
        ("cpu", capacity.cpu, limits.cpu),
        ("memory", capacity.memory.map(number), number(limits.memory)),
        ("disk", capacity.disk.map(number), number(limits.disk)),
        ("pids", capacity.pids.map(number), number(limits.pids)),
    ];
    for (resource, limit, requested) in checks {
        if let Some(limit) = limit.filter(|limit| requested > *limit) {
            return Err(DriverError::resource_limit(resource, limit, requested));
        }
    }
    Ok(())
}

pub(crate) fn resources(report: &mut Report, at: At<'_>, limits: &ResourceLimits) {
    // Written so that NaN fails.
    if !(limits.cpu >= MIN_CPU && limits.cpu <= MAX_CPU) {
        let message = format!("{} is not a number of cores", limits.cpu);
        let hint = format!("use {MIN_CPU} to {MAX_CPU} cores; 0 would mean no limit");
        report.add(format_args!("{at}/cpu"), message, hint);
    }
    range(
        report,
        format_args!("{at}/memory"),
        limits.memory,
        6,
        MAX_MIB,
        "MiB",
    );
    range(report, format_args!("{at}/disk"), limits.disk, 1, MAX_MIB, "MiB");
    range(report, format_args!("{at}/pids"), limits.pids, 1, MAX_PIDS, "");
}

/// The size of a volume.
pub(crate) fn volume_size(report: &mut Report, at: At<'_>, size_mib: u64) {
    range(report, at, size_mib, 1, MAX_MIB, "MiB");
}
