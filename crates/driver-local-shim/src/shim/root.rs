//! The root file system of a container: layers, /proc, /sys, /dev, volumes; then the change into it.

mod bare;
mod devices;
mod filesystem;
mod layers;
mod masks;
mod system;
mod volumes;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::{Sandbox, Stage};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};

use crate::failure::{At, Result};
use crate::inside::{self, Kind};
use crate::sys::add_attributes;

pub(crate) use bare::Bare;
pub(crate) use devices::Terminal;
use system::System;

/// What every root has of the kernel's.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What is mounted of the host: made where its mounts are seen, not mounted yet.
pub(crate) struct Materials {
    layers: OwnedFd,
    /// As many as the sandbox has, in its order.
    mounts: Vec<OwnedFd>,
}

/// A bare mount namespace with /proc, /sys and /dev.
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
    /// The root of a bare namespace, where it is built in one; absent: it is built in a copy of the host's tree.
    bare: Option<OwnedFd>,
    /// What was mounted ahead.
    system: Option<System>,
}

impl Materials {
    /// Makes them in the mount namespace of the host.
    pub(crate) fn gather(sandbox: &Sandbox) -> Result<Self> {
        Self::make(sandbox, None)
    }

    fn make(sandbox: &Sandbox, place: Option<&OwnedFd>) -> Result<Self> {
        let before = rustix::process::umask(Mode::empty());
        let is_whole = |layers: &OwnedFd| is_whole(layers, sandbox);
        let layers = layers::make(&sandbox.root, sandbox.user.is_some(), place, is_whole);
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

/// Whether nothing has to be made in these layers.
fn is_whole(layers: &OwnedFd, sandbox: &Sandbox) -> bool {
    let targets = sandbox.mounts.iter().map(|mount| mount.target.as_str());
    let mut places = SYSTEM.into_iter().chain(targets);
    places.all(|path| inside::strictly(layers, path).is_ok())
        && inside::directory(layers, &sandbox.working_dir).is_ok()
}

impl Skeleton {
    /// Leaves the host's tree for it.
    pub(crate) fn enter(bare: &Bare, shm_bytes: u64) -> Result<Self> {
        umask_nothing();
        let root = bare.enter()?;
        Ok(Self {
            system: System::mount(&root, shm_bytes, None)?,
            root,
        })
    }
}

impl Root {
    /// Mounts the layers, in a mount namespace of their own: in a bare one, where there is one and it will do.
    pub(crate) fn begin(bare: Option<Bare>, sandbox: &Sandbox) -> Result<Self> {
        umask_nothing();
        // What cannot be made there is made in a copy of the host's tree, or fails there with its reason.
        if let Some(bare) = bare.filter(|_| sandbox.user.is_none())
            && let Ok(materials) = Materials::gather(sandbox)
        {
            return Self::in_bare(bare.enter()?, materials, sandbox);
        }
        // That of a user namespace is there.
        if sandbox.user.is_none() {
            unshare(CloneFlags::CLONE_NEWNS).at(Stage::Namespaces, || "mount namespace")?;
        }
        make_private()?;
        let place = layers::place(&sandbox.root)?;
        let materials = Materials::make(sandbox, Some(&place))?;
        Self::at(place, materials, sandbox)
    }

    /// Mounts layers of the host in a skeleton, and moves what that has into them.
    pub(crate) fn in_skeleton(skeleton: Skeleton, materials: Materials, sandbox: &Sandbox) -> Result<Self> {
        let root = Self::in_bare(skeleton.root, materials, sandbox)?;
        skeleton.system.move_to(&root.mount)?;
        Ok(Self {
            system: Some(skeleton.system),
            ..root
        })
    }

    fn in_bare(bare: OwnedFd, materials: Materials, sandbox: &Sandbox) -> Result<Self> {
        let place = inside::strictly(&bare, bare::BUILDING).at(Stage::Root, || "an empty root")?;
        Ok(Self {
            bare: Some(bare),
            ..Self::at(place, materials, sandbox)?
        })
    }

    fn at(place: OwnedFd, materials: Materials, sandbox: &Sandbox) -> Result<Self> {
        attach_at(&materials.layers, place, "the root")?;
        Ok(Self {
            mount: materials.layers,
            read_only: sandbox.root.writable.is_none(),
            mounts: materials.mounts,
            bare: None,
            system: None,
        })
    }

    /// Mounts /proc, /sys and /dev, where that was not done; opens a terminal if one is wanted.
    pub(crate) fn add_system(&self, sandbox: &Sandbox, tty: bool) -> Result<Option<Terminal>> {
        let made;
        let system = match &self.system {
            Some(system) => system,
            None => {
                made = System::mount(&self.mount, sandbox.shm_bytes, sandbox.user.as_ref())?;
                &made
            }
        };
        tty.then(|| system.dev.open_terminal()).transpose()
    }

    /// Covers /proc, /sys and /dev with nothing, where no process runs.
    pub(crate) fn add_empty_system(&self) -> Result<()> {
        for path in SYSTEM {
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

    /// Makes the directory that the main process works in, where it is missing.
    pub(crate) fn add_working_dir(&self, sandbox: &Sandbox) -> Result<()> {
        let path = &sandbox.working_dir;
        inside::make_working_dir(&self.mount, path).at(Stage::WorkingDir, || format!("making {path}"))
    }

    /// Changes into the root and lets go of what is around it.
    pub(crate) fn enter(self) -> Result<()> {
        if self.read_only {
            let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
            add_attributes(&self.mount, read_only, false).at(Stage::Root, || "making the root read-only")?;
        }
        match &self.bare {
            Some(bare) => cover(bare, &self.mount),
            None => leave_for(&self.mount),
        }
    }
}

/// What is made has exactly the mode that it is made with.
fn umask_nothing() {
    rustix::process::umask(Mode::empty());
}

/// What is mounted elsewhere from now on is not heard of.
fn make_private() -> Result<()> {
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

/// Mounts `root` over a bare one, which is then below it for ever: an empty directory, not the host's tree that a
/// `pivot_root` lets go of. To unmount it would wait for all processors.
fn cover(bare: &OwnedFd, root: &OwnedFd) -> Result<()> {
    rustix::process::fchdir(root).at(Stage::Root, || "entering the root")?;
    attach_at(root, bare, "the root")?;
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
