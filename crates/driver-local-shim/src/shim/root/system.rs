//! /proc and /sys.

use std::os::fd::OwnedFd;

use driver_local_shim::Stage;
use rustix::mount::MountAttrFlags;

use super::filesystem::{Filesystem, PLAIN};
use super::{attach, copy_of, host};
use crate::failure::{At, Result};
use crate::inside::Kind;
use crate::sys::add_attributes;

/// Mounts a /proc of the own pid namespace.
pub(super) fn mount_proc(root: &OwnedFd) -> Result<OwnedFd> {
    let proc = Filesystem::new("proc")?.mount(PLAIN)?;
    attach(&proc, root, "/proc", Kind::Directory)?;
    Ok(proc)
}

/// Mounts a read-only /sys of the own network namespace. In a user namespace with the host's network the kernel refuses a
/// new one, and the host's is bound.
pub(super) fn mount_sys(root: &OwnedFd) -> Result<OwnedFd> {
    let read_only = PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let sys = match Filesystem::new("sysfs").and_then(|sysfs| sysfs.mount(read_only)) {
        Err(failure) if failure.errno == Some(rustix::io::Errno::PERM.raw_os_error()) => bound(read_only)?,
        other => other?,
    };
    attach(&sys, root, "/sys", Kind::Directory)?;
    Ok(sys)
}

fn bound(attributes: MountAttrFlags) -> Result<OwnedFd> {
    let sys = copy_of(host("/sys")?, true, "/sys")?;
    add_attributes(&sys, attributes, true).at(Stage::Root, || "making /sys read-only")?;
    Ok(sys)
}
