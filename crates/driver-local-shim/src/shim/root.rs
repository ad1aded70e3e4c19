//! The root file system of a container: layers, /proc, /sys, /dev, volumes; then the change into it.

mod devices;
mod filesystem;
mod layers;
mod masks;
mod system;
mod volumes;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::{Sandbox, Stage};
use rustix::fs::{CWD, Mode, mkdirat};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};

use crate::failure::{At, Result};
use crate::inside::{self, Kind};
use crate::sys::add_attributes;

pub(crate) use devices::Terminal;
use system::System;

/// What is mounted of the host: made where its mounts are seen, not mounted yet.
pub(crate) struct Materials {
    layers: OwnedFd,
    /// As many as the sandbox has, in its order.
    mounts: Vec<OwnedFd>,
}

/// A mount namespace with nothing in it but /proc, /sys and /dev.
pub(crate) struct Skeleton {
    root: OwnedFd,
    system: System,
}

/// A root that is being built: its mount, still at an unimportant place.
pub(crate) struct Root {
    mount: OwnedFd,
    read_only: bool,
    /// Mounts for the places in it.
    mounts: Vec<OwnedFd>,
    /// Where it is built; absent: in the host's tree.
    skeleton: Option<Skeleton>,
}

impl Materials {
    /// Makes them in the mount namespace of the host.
    pub(crate) fn gather(sandbox: &Sandbox) -> Result<Self> {
        Self::make(sandbox, None)
    }

    fn make(sandbox: &Sandbox, place: Option<&OwnedFd>) -> Result<Self> {
        let before = rustix::process::umask(Mode::empty());
        let layers = layers::make(&sandbox.root, sandbox.user.is_some(), place);
        rustix::process::umask(before);
        Ok(Self {
            layers: layers?,
            mounts: sandbox.mounts.iter().map(volumes::make).collect::<Result<_>>()?,
        })
    }

    /// All of it, as another process receives it.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.layers].into_iter().chain(&self.mounts).map(AsFd::as_fd)
    }

    /// What another process has made; nothing where something is missing.
    pub(crate) fn of(mut descriptors: impl Iterator<Item = OwnedFd>) -> Option<Self> {
        Some(Self {
            layers: descriptors.next()?,
            mounts: descriptors.collect(),
        })
    }
}

impl Skeleton {
    /// Leaves the host's tree for it. The mount namespace must be the container's own.
    pub(crate) fn enter(shm_bytes: u64) -> Result<Self> {
        make_private()?;
        let root = filesystem::directories()?;
        attach_at(&root, host("/")?, "an empty root")?;
        mkdirat(&root, BUILDING, Mode::from_raw_mode(0o555)).at(Stage::Root, || "an empty root")?;
        leave_for(&root)?;
        Ok(Self {
            system: System::mount(&root, shm_bytes, None)?,
            root,
        })
    }
}

/// Where a root is built in a skeleton.
const BUILDING: &str = "root";

impl Root {
    /// Mounts the layers. The mount namespace must be the container's own, and still hold the host's tree.
    pub(crate) fn begin(sandbox: &Sandbox) -> Result<Self> {
        make_private()?;
        let place = layers::place(&sandbox.root)?;
        let materials = Materials::make(sandbox, Some(&place))?;
        Self::at(place, materials, sandbox, None)
    }

    /// Mounts layers of the host in a skeleton, and moves what that has into them.
    pub(crate) fn in_skeleton(skeleton: Skeleton, materials: Materials, sandbox: &Sandbox) -> Result<Self> {
        let place = inside::strictly(&skeleton.root, BUILDING).at(Stage::Root, || "an empty root")?;
        let root = Self::at(place, materials, sandbox, Some(skeleton))?;
        root.skeleton
            .iter()
            .try_for_each(|skeleton| skeleton.system.move_to(&root.mount))?;
        Ok(root)
    }

    fn at(
        place: OwnedFd,
        materials: Materials,
        sandbox: &Sandbox,
        skeleton: Option<Skeleton>,
    ) -> Result<Self> {
        attach_at(&materials.layers, place, "the root")?;
        Ok(Self {
            mount: materials.layers,
            read_only: sandbox.root.writable.is_none(),
            mounts: materials.mounts,
            skeleton,
        })
    }

    /// Mounts /proc, /sys and /dev, where that was not done; opens a terminal if one is wanted.
    pub(crate) fn add_system(&self, sandbox: &Sandbox, tty: bool) -> Result<Option<Terminal>> {
        let made;
        let system = match &self.skeleton {
            Some(skeleton) => &skeleton.system,
            None => {
                made = System::mount(&self.mount, sandbox.shm_bytes, sandbox.user.as_ref())?;
                &made
            }
        };
        tty.then(|| system.dev.open_terminal()).transpose()
    }

    /// Covers /proc, /sys and /dev with nothing, where no process runs.
    pub(crate) fn add_empty_system(&self) -> Result<()> {
        for path in ["/proc", "/sys", "/dev"] {
            attach(filesystem::nothing()?, &self.mount, path, Kind::Directory)?;
        }
        Ok(())
    }

    /// Mounts volumes, tmpfs and files of the driver.
    pub(crate) fn add_mounts(&self, sandbox: &Sandbox) -> Result<()> {
        let mounts = sandbox.mounts.iter().zip(&self.mounts);
        mounts
            .into_iter()
            .try_for_each(|(mount, source)| volumes::attach(&self.mount, &mount.target, source))
    }

    /// Makes a directory for the main process to work in.
    pub(crate) fn add_directory(&self, path: &str) -> Result<()> {
        inside::make_working_dir(&self.mount, path).at(Stage::WorkingDir, || format!("making {path}"))
    }

    /// Changes into the root and lets go of what is around it.
    pub(crate) fn enter(self) -> Result<()> {
        if self.read_only {
            let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
            add_attributes(&self.mount, read_only, false).at(Stage::Root, || "making the root read-only")?;
        }
        match &self.skeleton {
            Some(skeleton) => cover(skeleton, &self.mount),
            None => leave_for(&self.mount),
        }
    }
}

/// What is mounted elsewhere from now on is not heard of.
fn make_private() -> Result<()> {
    rustix::process::umask(Mode::empty());
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).at(Stage::Root, || "making the mounts private")
}

/// Changes into `root` and lets go of the tree that it is mounted in.
fn leave_for(root: &OwnedFd) -> Result<()> {
    rustix::process::fchdir(root).at(Stage::Root, || "entering the root")?;
    // The old root then lies on top of the new one, at the same place.
    rustix::process::pivot_root(".", ".").at(Stage::Root, || "pivot_root")?;
    unmount(".", UnmountFlags::DETACH).at(Stage::Root, || "unmounting the host's tree")?;
    rustix::process::chdir("/").at(Stage::Root, || "entering the root")
}

/// Mounts `root` over a skeleton, which is then below it for ever: an empty directory, not the host's tree that a
/// `pivot_root` lets go of. To unmount it would wait for all processors.
fn cover(skeleton: &Skeleton, root: &OwnedFd) -> Result<()> {
    rustix::process::fchdir(root).at(Stage::Root, || "entering the root")?;
    attach_at(root, &skeleton.root, "the root")?;
    rustix::process::chroot(".").at(Stage::Root, || "entering the root")?;
    rustix::process::chdir("/").at(Stage::Root, || "entering the root")
}

/// Mounts a detached mount at `path` inside `root`.
fn attach(mount: impl AsFd, root: impl AsFd, path: &str, kind: Kind) -> Result<()> {
    let target = inside::mountpoint(root, path, kind).at(Stage::Root, || {
        format!("{path}, where something is to be mounted (no symbolic link may lead there)")
    })?;
    attach_at(mount, target, path)
}

/// Mounts a detached mount at an open place.
fn attach_at(mount: impl AsFd, target: impl AsFd, name: &str) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).at(Stage::Root, || format!("mounting {name}"))
}

/// A detached copy of the mount at an open place, with what is mounted below it where `recursive`.
fn copy_of(place: impl AsFd, recursive: bool, name: &str) -> Result<OwnedFd> {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(place, "", flags).at(Stage::Root, || format!("binding {name}"))
}

/// Opens a path of the host, which the driver chose.
fn host(path: &str) -> Result<OwnedFd> {
    use rustix::fs::{OFlags, openat};
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at(Stage::Root, || path.to_owned())
}
