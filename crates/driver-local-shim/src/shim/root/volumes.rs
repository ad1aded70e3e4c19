//! Volumes, tmpfs and files of the driver.

use std::os::fd::OwnedFd;

use driver_local_shim::{Mount, MountSource, Stage};
use rustix::fs::{FileType, fstat, fstatfs};
use rustix::mount::MountAttrFlags;

use super::filesystem::{DATA, Filesystem};
use super::{attach_at, copy_of, host};
use crate::failure::{At, Failure, Result};
use crate::inside::{self, Kind};
use crate::sys::add_attributes;

/// File systems of the kernel's that nothing may cover: later writes would be led astray (CVE-2019-16884).
const KERNELS: [i64; 2] = [0x9fa0, 0x6265_6572];

/// Makes a detached mount of its source.
pub(super) fn make(mount: &Mount) -> Result<OwnedFd> {
    match &mount.source {
        MountSource::Bind(path) => bind(path, mount.read_only),
        MountSource::Tmpfs { bytes, mode } => memory(*bytes, *mode, mount.read_only),
    }
}

/// Mounts it where it is to be.
pub(super) fn attach(root: &OwnedFd, target: &str, source: &OwnedFd) -> Result<()> {
    let stat = fstat(source).at(Stage::Root, || target.to_owned())?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    };
    let place = inside::mountpoint(root, target, kind).at(Stage::Root, || {
        format!("{target}, where something is to be mounted (no symbolic link may lead there)")
    })?;
    check(root, &place, target)?;
    attach_at(source, place, target)
}

fn bind(path: &str, read_only: bool) -> Result<OwnedFd> {
    let copy = copy_of(host(path)?, true, path)?;
    add_attributes(&copy, attributes(read_only), true).at(Stage::Root, || path.to_owned())?;
    Ok(copy)
}

/// No device and no set-user-id program comes in by a volume, which other containers can write to.
fn attributes(read_only: bool) -> MountAttrFlags {
    let mut attributes = DATA;
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, read_only);
    attributes
}

fn memory(bytes: u64, mode: u32, read_only: bool) -> Result<OwnedFd> {
    let memory = Filesystem::new("tmpfs")?;
    // 0 would be no limit.
    memory.set("size", bytes.max(4096))?;
    memory.set("mode", format_args!("{mode:o}"))?;
    memory.mount(attributes(read_only))
}

fn check(root: &OwnedFd, place: &OwnedFd, target: &str) -> Result<()> {
    let kind = fstatfs(place).at(Stage::Root, || target.to_owned())?.f_type;
    if KERNELS.contains(&kind) {
        return Err(Failure::new(
            Stage::Root,
            format!("{target} is in /proc or /sys, where nothing can be mounted"),
        ));
    }
    let (place, root) = (fstat(place), fstat(root));
    let (place, root) = (
        place.at(Stage::Root, || target.to_owned())?,
        root.at(Stage::Root, || "/")?,
    );
    if (place.st_dev, place.st_ino) == (root.st_dev, root.st_ino) {
        return Err(Failure::new(
            Stage::Root,
            format!("{target} is the root, which nothing can cover"),
        ));
    }
    Ok(())
}
