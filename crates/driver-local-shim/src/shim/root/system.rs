//! /proc, /sys and /dev.

use std::os::fd::OwnedFd;

use driver_local_shim::{Stage, UserNamespace};
use rustix::mount::MountAttrFlags;

use super::devices::{self, Dev};
use super::filesystem::{Filesystem, PLAIN};
use super::{attach, copy_of, host, masks};
use crate::failure::{At, Result};
use crate::inside::Kind;
use crate::sys::add_attributes;

/// Those of a container, with what must not be seen covered.
pub(crate) struct System {
    proc: OwnedFd,
    sys: OwnedFd,
    pub(super) dev: Dev,
}

impl System {
    /// Mounts them below `root`, for the namespaces that this process is in.
    pub(super) fn mount(root: &OwnedFd, shm_bytes: u64, user: Option<&UserNamespace>) -> Result<Self> {
        let system = Self {
            proc: mount_proc(root)?,
            sys: mount_sys(root)?,
            dev: devices::mount(root, shm_bytes, user)?,
        };
        masks::apply(&system.proc, &system.sys, &system.dev.null)?;
        Ok(system)
    }

    /// Moves them to another root, with what is mounted in them.
    pub(super) fn move_to(&self, root: &OwnedFd) -> Result<()> {
        let mounts = [
            ("/proc", &self.proc),
            ("/sys", &self.sys),
            ("/dev", &self.dev.mount),
        ];
        mounts
            .iter()
            .try_for_each(|(path, mount)| attach(mount, root, path, Kind::Directory))
    }
}

/// Mounts a /proc of the own pid namespace.
fn mount_proc(root: &OwnedFd) -> Result<OwnedFd> {
    let proc = Filesystem::new("proc")?.mount(PLAIN)?;
    attach(&proc, root, "/proc", Kind::Directory)?;
    Ok(proc)
}

/// Mounts a read-only /sys of the own network namespace. In a user namespace with the host's network the kernel refuses a
/// new one, and the host's is bound.
fn mount_sys(root: &OwnedFd) -> Result<OwnedFd> {
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
