//! The writable layer of a container: a directory that takes no more than the disk limit. Its file system keeps the limit by
//! a project quota; or it is a file system of its own, which is as large as the limit.

mod loop_image;
mod quota;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use driver_types::{
    Capabilities, Capability, ContainerConfig, DriverError, LinuxCapabilities, ResourceLimits, Result,
    SeccompProfile, SecurityOptions, Support,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};

pub(crate) use self::quota::Lack;
use crate::layout::{ContainerDir, Layout};
use crate::options::DiskBackend;
use crate::shim::Shim;
use crate::spec::Spec;

/// The largest limit in MiB that is held in memory by itself, if it is also at most half of the container's memory: a
/// larger one would never be reached, because the container would be killed for its memory first.
const SMALL: u64 = 256;

/// The Linux capabilities with which a process is not bound by a quota, or can change it.
const UNBOUND: [&str; 2] = ["SYS_RESOURCE", "SYS_ADMIN"];

/// How this driver holds disk limits on this host.
#[derive(Clone, Debug)]
pub(crate) struct Disks {
    pub(crate) backend: DiskBackend,
    /// Why there are no project quotas here, if so.
    pub(crate) no_quotas: Option<Lack>,
    /// Why there are no loop images here, if so.
    pub(crate) no_loops: Option<String>,
}

/// By what the limit of one container is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Quota,
    Memory,
    Image,
}

impl Disks {
    /// Looks at what the host has, and tries out a project quota in the state directory where it is to be used.
    pub(crate) fn probe(backend: DiskBackend, shim: &Shim, layout: &Layout) -> Self {
        let no_loops = loop_image::probe().err();
        let no_quotas = match backend {
            DiskBackend::Auto | DiskBackend::Quota => quota::probe(shim, layout).err(),
            DiskBackend::Tmpfs | DiskBackend::Loop => None,
        };
        Self {
            backend,
            no_quotas,
            no_loops,
        }
    }

    /// How well limits are held, and by what.
    pub(crate) fn support(&self) -> Support {
        match (&self.backend, &self.no_loops, &self.no_quotas) {
            (DiskBackend::Loop, Some(lack), _) => Support::none(format!("no loop images: {lack}")),
            (DiskBackend::Quota, _, Some(lack)) => {
                Support::none(format!("no project quotas: {}", lack.reason))
            }
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
            _ if self.has_quotas() => "a project quota of the state directory's file system".to_owned(),
            (DiskBackend::Loop, _) => image.to_owned(),
            (DiskBackend::Auto | DiskBackend::Quota, None) => {
                format!("up to {SMALL} MiB and half of the memory limit by {memory}; above by {image}")
            }
            (DiskBackend::Auto | DiskBackend::Quota, Some(lack)) => {
                format!("{memory} (no loop images: {lack})")
            }
            (DiskBackend::Tmpfs, _) => memory.to_owned(),
        }
    }

    /// Whether limits are held by project quotas.
    pub(crate) fn has_quotas(&self) -> bool {
        let wanted = matches!(self.backend, DiskBackend::Auto | DiskBackend::Quota);
        wanted && self.no_quotas.is_none()
    }

    fn way(&self, security: &SecurityOptions, limits: &ResourceLimits) -> Way {
        let in_memory = match self.backend {
            DiskBackend::Tmpfs => true,
            DiskBackend::Loop => false,
            DiskBackend::Auto | DiskBackend::Quota => {
                self.no_loops.is_some() || limits.disk <= SMALL.min(limits.memory / 2)
            }
        };
        match in_memory {
            _ if self.has_quotas() && is_bound(security) => Way::Quota,
            true => Way::Memory,
            false => Way::Image,
        }
    }

    /// Makes the writable layer of a container. Blocks.
    ///
    /// # Errors
    ///
    /// `FILE_SYSTEM_ERROR` where it cannot be made.
    pub(crate) fn make(
        &self,
        layout: &Layout,
        dir: &ContainerDir,
        spec: &Spec,
        capabilities: &Capabilities,
        shim: &Shim,
    ) -> Result<()> {
        let ContainerConfig {
            security, resources, ..
        } = &spec.config;
        let path = dir.disk();
        let bytes = resources.disk.saturating_mul(ResourceLimits::MIB);
        let limit = || match self.way(security, resources) {
            // A directory like others.
            _ if !capabilities.supports(Capability::DiskLimit) => Ok(()),
            Way::Quota => quota::begin(shim, &path, &spec.id, bytes),
            Way::Memory => mount_tmpfs(&path, bytes),
            Way::Image => {
                loop_image::make(&dir.disk_image(), bytes, &layout.templates())?;
                loop_image::mount(&dir.disk_image(), &path)
            }
        };
        let make = || {
            DirBuilder::new().mode(0o700).create(&path)?;
            limit()?;
            fs::create_dir(path.join("upper"))?;
            fs::create_dir(path.join("work"))
        };
        make().map_err(|error: io::Error| {
            DriverError::file_system(format!("the writable layer cannot be made: {error}"))
        })
    }
}

/// Whether a quota holds for processes with these rights. The default filter keeps a file's owner from taking it out of its
/// project.
fn is_bound(security: &SecurityOptions) -> bool {
    let number = |name: &str| LinuxCapabilities::number(name);
    let unbound = UNBOUND
        .into_iter()
        .filter_map(number)
        .fold(0, |mask, number| mask | 1 << number);
    security.seccomp == SeccompProfile::Default && security.capabilities.mask() & unbound == 0
}

/// Whether the limit of this layer can be changed.
pub(crate) fn can_change(dir: &ContainerDir) -> bool {
    quota::is_held(&dir.disk())
}

/// Changes the limit of a layer of which [`can_change`] is true. Blocks.
///
/// # Errors
///
/// `FILE_SYSTEM_ERROR` where the kernel refuses it.
pub(crate) fn change(dir: &ContainerDir, limits: &ResourceLimits, shim: &Shim) -> Result<()> {
    let bytes = limits.disk.saturating_mul(ResourceLimits::MIB);
    quota::set(shim, &dir.disk(), bytes).map_err(|error| {
        DriverError::file_system(format!(
            "the limit of the writable layer cannot be changed: {error}"
        ))
    })
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
    if is_ready(dir) {
        return Ok(());
    }
    let (image, path) = (dir.disk_image(), dir.disk());
    let mounted = loop_image::check(&image).and_then(|()| loop_image::mount(&image, &path));
    mounted.map_err(|error| {
        let image = image.display();
        DriverError::file_system(format!(
            "the writable layer {image} cannot be mounted again: {error}"
        ))
    })
}

/// Whether it needs no mount, or has it.
pub(crate) fn is_ready(dir: &ContainerDir) -> bool {
    !dir.disk_image().exists() || is_mounted(&dir.disk())
}

/// The bytes written to a writable layer, where they are limited. Of a directory with a quota the kernel tells that.
pub(crate) fn used(path: &Path) -> Option<u64> {
    let is_limited = |_: &_| is_mounted(path) || quota::is_held(path);
    let found = rustix::fs::statvfs(path).ok().filter(is_limited)?;
    Some((found.f_blocks - found.f_bfree).saturating_mul(found.f_frsize))
}

fn is_mounted(path: &Path) -> bool {
    let own = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    own.is_ok_and(|own| own.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Undoes what [`Disks::make`] did to the kernel's state: a limit, or a mount; a loop device goes with it. A repeat, or where
/// nothing was done, does nothing. Blocks.
///
/// # Errors
///
/// Those of the kernel.
pub(crate) fn end(path: &Path, shim: &Shim) -> io::Result<()> {
    if quota::is_held(path) {
        quota::set(shim, path, 0)?;
    }
    unmount(path)
}

fn unmount(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not a mount point, or not there.
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        // Without privilege nothing was mounted.
        Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
