//! The writable layer of a container: a directory on a file system of its own, which is as large as the disk limit.

mod loop_image;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use driver_types::{Capabilities, Capability, DriverError, ResourceLimits, Result, Support};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};

use crate::layout::ContainerDir;
use crate::options::DiskBackend;

/// The largest limit in MiB that is held in memory by itself, if it is also at most half of the container's memory: a
/// larger one would never be reached, because the container would be killed for its memory first.
const SMALL: u64 = 256;

/// How this driver holds disk limits on this host.
#[derive(Clone, Debug)]
pub(crate) struct Disks {
    pub(crate) backend: DiskBackend,
    /// Why there are no loop images here, if so.
    pub(crate) no_loops: Option<String>,
}

impl Disks {
    /// Looks at what the host has. Changes nothing.
    pub(crate) fn probe(backend: DiskBackend) -> Self {
        let no_loops = loop_image::probe().err();
        Self { backend, no_loops }
    }

    /// How well limits are held, and by what.
    pub(crate) fn support(&self) -> Support {
        match (&self.backend, &self.no_loops) {
            (DiskBackend::Loop, Some(lack)) => Support::none(format!("no loop images: {lack}")),
            _ => Support {
                reason: Some(self.method()),
                ..Support::native()
            },
        }
    }

    /// By what limits are held.
    pub(crate) fn method(&self) -> String {
        let memory = "a tmpfs of that size, which counts towards the container's memory";
        let image = "an ext4 loop image of that size";
        match (self.backend, &self.no_loops) {
            (DiskBackend::Loop, _) => image.to_owned(),
            (DiskBackend::Auto, None) => {
                format!("up to {SMALL} MiB and half of the memory limit by {memory}; above by {image}")
            }
            (DiskBackend::Auto, Some(lack)) => format!("{memory} (no loop images: {lack})"),
            (DiskBackend::Tmpfs, _) => memory.to_owned(),
        }
    }

    fn in_memory(&self, limits: &ResourceLimits) -> bool {
        match self.backend {
            DiskBackend::Tmpfs => true,
            DiskBackend::Loop => false,
            DiskBackend::Auto => self.no_loops.is_some() || limits.disk <= SMALL.min(limits.memory / 2),
        }
    }

    /// Makes the writable layer of a container with these limits. Blocks.
    ///
    /// # Errors
    ///
    /// `FILE_SYSTEM_ERROR` where it cannot be made.
    pub(crate) fn make(
        &self,
        dir: &ContainerDir,
        limits: &ResourceLimits,
        capabilities: &Capabilities,
    ) -> Result<()> {
        let path = dir.disk();
        let bytes = limits.disk.saturating_mul(ResourceLimits::MIB);
        let make = || {
            DirBuilder::new().mode(0o700).create(&path)?;
            if !capabilities.supports(Capability::DiskLimit) {
                // A directory like others.
            } else if self.in_memory(limits) {
                mount_tmpfs(&path, bytes)?;
            } else {
                loop_image::make(&dir.disk_image(), bytes)?;
                loop_image::mount(&dir.disk_image(), &path)?;
            }
            fs::create_dir(path.join("upper"))?;
            fs::create_dir(path.join("work"))
        };
        make().map_err(|error: io::Error| {
            DriverError::file_system(format!("the writable layer cannot be made: {error}"))
        })
    }
}

fn mount_tmpfs(path: &Path, bytes: u64) -> io::Result<()> {
    let size = format!("mode=700,size={bytes}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let source = Some("driver-local");
    Ok(mount(source, path, Some("tmpfs"), flags, Some(size.as_str()))?)
}

/// Mounts the writable layer again where the machine was started anew: a loop image is still there. Blocks; call it
/// in the container's turn, before its files are used.
///
/// # Errors
///
/// `FILE_SYSTEM_ERROR` where it cannot be repaired or mounted.
pub(crate) fn ready(dir: &ContainerDir) -> Result<()> {
    let (image, path) = (dir.disk_image(), dir.disk());
    if !image.exists() || is_mounted(&path) {
        return Ok(());
    }
    let mounted = loop_image::check(&image).and_then(|()| loop_image::mount(&image, &path));
    mounted.map_err(|error| {
        let image = image.display();
        DriverError::file_system(format!(
            "the writable layer {image} cannot be mounted again: {error}"
        ))
    })
}

/// The bytes written to a writable layer, where it is a file system of its own.
pub(crate) fn used(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok().filter(|_| is_mounted(path))?;
    Some((found.f_blocks - found.f_bfree).saturating_mul(found.f_frsize))
}

fn is_mounted(path: &Path) -> bool {
    let own = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    own.is_ok_and(|own| own.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Unmounts what [`Disks::make`] mounted; a loop device goes with it. A repeat, or where nothing was mounted, does nothing.
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
