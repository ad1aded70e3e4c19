//! The overlay of an image's layers.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use driver_local_shim::{Root, Stage, Writable};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::mount::MountAttrFlags;

use super::filesystem::{DATA, Filesystem, LONGEST_VALUE};
use super::{attach_at, host};
use crate::failure::{At, Failure, Result};

/// Makes a detached mount of the layers. A read-only root gets a writable layer in memory while it is built, so that missing
/// mountpoints can be made in it in the one way there is; that is mounted at `place` too, if there is one: before Linux 6.15 an
/// overlay cannot have a detached layer.
pub(super) fn make(root: &Root, in_user_namespace: bool, place: Option<&OwnedFd>) -> Result<OwnedFd> {
    let lower = root
        .lower
        .iter()
        .map(|path| host(path))
        .collect::<Result<Vec<_>>>()?;
    // Detached, it would be gone with its descriptor before it is a layer.
    let _memory;
    let (upper, work) = match &root.writable {
        Some(writable) => prepare(writable)?,
        None => {
            let memory = memory(place)?;
            let directories = in_memory(&memory)?;
            _memory = memory;
            directories
        }
    };
    let overlay = Filesystem::new("overlay")?;
    set_lower(&overlay, &lower)?;
    overlay.set("upperdir", path_of(&upper))?;
    overlay.set("workdir", path_of(&work))?;
    // What a container writes is not kept across a power loss; then syncing it at the end is only slow.
    overlay.set_flag("volatile")?;
    if in_user_namespace {
        overlay.set_flag("userxattr")?;
    }
    overlay.mount(MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// Where new mounts are until the root is entered, in the host's tree: nobody looks there by path.
pub(super) fn place(root: &Root) -> Result<OwnedFd> {
    let lowest = root.lower.first();
    host(lowest.ok_or_else(|| Failure::new(Stage::Root, "a root without a layer"))?)
}

/// Opens the writable layer. Overlay refuses to mount a work directory again that a volatile mount has used.
fn prepare(writable: &Writable) -> Result<(OwnedFd, OwnedFd)> {
    let used = format!("{}/work/incompat", writable.work);
    match fs::remove_dir_all(&used) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at(Stage::Root, || used)?,
        _ => {}
    }
    Ok((host(&writable.upper)?, host(&writable.work)?))
}

fn memory(place: Option<&OwnedFd>) -> Result<OwnedFd> {
    let memory = Filesystem::new("tmpfs")?;
    memory.set("mode", "0700")?;
    let memory = memory.mount(DATA)?;
    if let Some(place) = place {
        attach_at(&memory, place, "the layer of mountpoints")?;
    }
    Ok(memory)
}

fn in_memory(memory: &OwnedFd) -> Result<(OwnedFd, OwnedFd)> {
    let directory = |name: &str| -> rustix::io::Result<OwnedFd> {
        mkdirat(memory, name, Mode::from_raw_mode(0o755))?;
        openat(memory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    };
    let directory = |name| directory(name).at(Stage::Root, || "the layer of mountpoints");
    Ok((directory("upper")?, directory("work")?))
}

/// One option where it is short enough: what adds them one by one is unknown before Linux 6.7, and before 6.5 that is
/// told only when it is too late for another try.
fn set_lower(overlay: &Filesystem, lower: &[OwnedFd]) -> Result<()> {
    let paths: Vec<_> = lower.iter().map(path_of).collect();
    let joined = paths.join(":");
    if joined.len() <= LONGEST_VALUE {
        return overlay.set("lowerdir", joined);
    }
    paths.iter().try_for_each(|path| overlay.set("lowerdir+", path))
}

/// A short path without characters that are special to overlay.
fn path_of(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}
