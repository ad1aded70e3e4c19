//! The overlay of an image's layers.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use driver_local_shim::{Root, Stage, Writable, running_kernel};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::mount::MountAttrFlags;

use super::filesystem::{DATA, Filesystem, LONGEST_VALUE};
use super::{attach_at, host};
use crate::failure::{At, Failure, Result};

/// Makes a detached mount of the layers. A read-only root has nothing else, if `is_whole` says that all mountpoints are there. Else
/// it gets a writable layer in memory while it is built, so that those can be made in the one way there is; that is mounted at
/// `place` too, if there is one: before Linux 6.15 an overlay cannot have a detached layer.
pub(super) fn make(
    root: &Root,
    in_user_namespace: bool,
    place: Option<&OwnedFd>,
    is_whole: impl FnOnce(&OwnedFd) -> bool,
) -> Result<OwnedFd> {
    let lower: Result<Vec<_>> = root.lower.iter().map(|path| host(path)).collect();
    let layers = Layers {
        lower: lower?,
        in_user_namespace,
    };
    if let Some(writable) = &root.writable {
        let (upper, work) = prepare(writable)?;
        return layers.mount(Some((&upper, &work)));
    }
    // Of a single one it cannot be made; the kernel would log the attempt.
    let read_only = (layers.lower.len() > 1).then(|| layers.mount(None));
    match read_only {
        Some(Ok(mount)) if is_whole(&mount) => Ok(mount),
        _ => {
            let memory = memory(place)?;
            let (upper, work) = in_memory(&memory)?;
            layers.mount(Some((&upper, &work)))
        }
    }
}

/// What is below.
struct Layers {
    lower: Vec<OwnedFd>,
    in_user_namespace: bool,
}

impl Layers {
    /// Mounts them, with a writable layer and its work directory, if there are any.
    fn mount(&self, writable: Option<(&OwnedFd, &OwnedFd)>) -> Result<OwnedFd> {
        let enter = |path| rustix::process::chdir(path).at(Stage::Root, || path);
        // There their names are short, and have no characters that are special to overlay.
        enter("/proc/self/fd")?;
        let mount = self.mount_by_number(writable);
        enter("/")?;
        mount
    }

    fn mount_by_number(&self, writable: Option<(&OwnedFd, &OwnedFd)>) -> Result<OwnedFd> {
        let overlay = Filesystem::new("overlay")?;
        self.set_lower(&overlay)?;
        if let Some((upper, work)) = writable {
            overlay.set("upperdir", upper.as_raw_fd())?;
            overlay.set("workdir", work.as_raw_fd())?;
            // What a container writes is not kept across a power loss; then syncing it at the end is only slow.
            overlay.set_flag("volatile")?;
        }
        if self.in_user_namespace {
            overlay.set_flag("userxattr")?;
        }
        overlay.mount(MountAttrFlags::MOUNT_ATTR_NODEV)
    }

    /// One option where it is short enough, as it is for some eighty layers: what adds them one by one is unknown before Linux 6.7.
    fn set_lower(&self, overlay: &Filesystem) -> Result<()> {
        let numbers: Vec<_> = self
            .lower
            .iter()
            .map(|layer| layer.as_raw_fd().to_string())
            .collect();
        let joined = numbers.join(":");
        if joined.len() <= LONGEST_VALUE {
            return overlay.set("lowerdir", joined);
        }
        if running_kernel() < Some((6, 7)) {
            let message = "the image has more layers than this kernel takes (some eighty); merge some, or use Linux 6.7 or later";
            return Err(Failure::new(Stage::Root, message));
        }
        numbers
            .iter()
            .try_for_each(|number| overlay.set("lowerdir+", number))
    }
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
