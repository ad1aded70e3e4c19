//! The devices that containers may use, with version 1. They are the same for all, so all are in one group with these rules: made
//! once, they cost no start anything.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::files;

/// The OCI runtime specification's default devices, and those of terminals.
const DEVICES: [&str; 9] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Lets only these be used in a group, and in those that are made below it from now on.
///
/// # Errors
///
/// Those of the kernel: it refuses where there are groups below already.
pub(super) fn restrict(group: &Path) -> io::Result<()> {
    // Several drivers may be at it, and none may make a group below while another is half way.
    let turn = File::open(group)?;
    flock(&turn, FlockOperation::LockExclusive)?;
    if files::read(group, "devices.list")?.lines().eq(DEVICES) {
        return Ok(());
    }
    files::write(group, "devices.deny", "a")?;
    DEVICES
        .iter()
        .try_for_each(|device| files::write(group, "devices.allow", device))
}
