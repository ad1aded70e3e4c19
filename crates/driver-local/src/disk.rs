//! The writable layer of a container: a directory, on a tmpfs of the size of the disk limit where that can be mounted.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use driver_types::{Capabilities, Capability, DriverError, ResourceLimits, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};

/// Makes the writable layer with `mib` MiB.
///
/// # Errors
///
/// `FILE_SYSTEM_ERROR` where it cannot be made.
pub(crate) fn make(path: &Path, mib: u64, capabilities: &Capabilities) -> Result<()> {
    let make = || {
        DirBuilder::new().mode(0o700).create(path)?;
        if capabilities.supports(Capability::DiskLimit) {
            let size = format!("mode=700,size={}", mib.saturating_mul(ResourceLimits::MIB));
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(
                Some("driver-local"),
                path,
                Some("tmpfs"),
                flags,
                Some(size.as_str()),
            )?;
        }
        fs::create_dir(path.join("upper"))?;
        fs::create_dir(path.join("work"))
    };
    make().map_err(|error: io::Error| {
        DriverError::file_system(format!("the writable layer cannot be made: {error}"))
    })
}

/// The bytes written to a writable layer, where it is a file system of its own.
pub(crate) fn used(path: &Path) -> Option<u64> {
    let own = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).ok()?;
    let is_root = own.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    let found = rustix::fs::statvfs(path).ok().filter(|_| is_root)?;
    Some((found.f_blocks - found.f_bfree).saturating_mul(found.f_frsize))
}

/// Unmounts what [`make`] mounted. A repeat, or where nothing was mounted, does nothing.
///
/// # Errors
///
/// Those of the kernel.
pub(crate) fn unmount(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not a mount point, or not there.
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        // Without privilege nothing was mounted.
        Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
