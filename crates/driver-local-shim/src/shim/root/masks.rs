//! What of /proc and /sys a container must not see or change: the lists of Docker.

use std::io;
use std::os::fd::OwnedFd;

use driver_local_shim::Stage;
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::mount::MountAttrFlags;

use super::filesystem::{PLAIN, nothing};
use super::{attach_at, copy_of};
use crate::failure::{At, Result};
use crate::inside;
use crate::sys::add_attributes;

const MASKED_PROC: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];

const MASKED_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

const READ_ONLY_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Covers and write-protects. What this kernel does not have is passed over; anything else that fails is an error.
pub(super) fn apply(proc: &OwnedFd, sys: &OwnedFd, null: &OwnedFd) -> Result<()> {
    for path in MASKED_PROC {
        mask(proc, path, null)?;
    }
    for path in MASKED_SYS {
        mask(sys, path, null)?;
    }
    for path in thermal_throttles(sys).at(Stage::Root, || "/sys/devices/system/cpu")? {
        mask(sys, &path, null)?;
    }
    READ_ONLY_PROC.iter().try_for_each(|path| protect(proc, path))
}

fn mask(mount: &OwnedFd, path: &str, null: &OwnedFd) -> Result<()> {
    let Some(place) = find(mount, path)? else {
        return Ok(());
    };
    let stat = fstat(&place).at(Stage::Root, || format!("masking {path}"))?;
    let cover = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        nothing()?
    } else {
        copy_of(null, false, path)?
    };
    attach_at(cover, place, path)
}

fn protect(mount: &OwnedFd, path: &str) -> Result<()> {
    let Some(place) = find(mount, path)? else {
        return Ok(());
    };
    let copy = copy_of(&place, true, path)?;
    let read_only = PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY;
    add_attributes(&copy, read_only, true).at(Stage::Root, || format!("making {path} read-only"))?;
    attach_at(copy, place, path)
}

fn find(mount: &OwnedFd, path: &str) -> Result<Option<OwnedFd>> {
    match inside::strictly(mount, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).at(Stage::Root, || format!("covering {path}")),
    }
}

/// `devices/system/cpu/cpuN/thermal_throttle` of each processor.
fn thermal_throttles(sys: &OwnedFd) -> io::Result<Vec<String>> {
    const CPUS: &str = "devices/system/cpu";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match openat(sys, CPUS, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let number = name.strip_prefix("cpu").unwrap_or("");
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(format!("{CPUS}/{name}/thermal_throttle"));
        }
    }
    Ok(found)
}
