//! The root file system of a container: layers, /proc, /sys, /dev, volumes; then the change into it.

mod devices;
mod filesystem;
mod layers;
mod masks;
mod system;
mod volumes;

use std::os::fd::{AsFd, OwnedFd};

use driver_local_shim::{Sandbox, Stage};
use rustix::fs::{CWD, Mode};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};

use crate::failure::{At, Result};
use crate::inside::{self, Kind};
use crate::sys::add_attributes;

pub(crate) use devices::Terminal;

/// A root that is being built: its mount, still at an unimportant place of the host's tree.
pub(crate) struct Root {
    mount: OwnedFd,
    read_only: bool,
}

impl Root {
    /// Mounts the layers. The mount namespace must be the container's own, and still hold the host's tree.
    pub(crate) fn begin(sandbox: &Sandbox) -> Result<Self> {
        rustix::process::umask(Mode::empty());
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).at(Stage::Root, || "making the mounts private")?;
        Ok(Self {
            mount: layers::mount(&sandbox.root, sandbox.user.is_some())?,
            read_only: sandbox.root.writable.is_none(),
        })
    }

    /// Mounts /proc, /sys and /dev, with what must not be seen covered; opens a terminal if one is wanted.
    pub(crate) fn add_system(&self, sandbox: &Sandbox, tty: bool) -> Result<Option<Terminal>> {
        let proc = system::mount_proc(&self.mount)?;
        let sys = system::mount_sys(&self.mount)?;
        let dev = devices::mount(&self.mount, sandbox)?;
        masks::apply(&proc, &sys, &dev.null)?;
        tty.then(|| dev.open_terminal()).transpose()
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
        sandbox
            .mounts
            .iter()
            .try_for_each(|mount| volumes::mount(&self.mount, mount))
    }

    /// Makes a directory for the main process to work in.
    pub(crate) fn add_directory(&self, path: &str) -> Result<()> {
        inside::make_working_dir(&self.mount, path).at(Stage::WorkingDir, || format!("making {path}"))
    }

    /// Changes into the root and lets go of the host's tree.
    pub(crate) fn enter(self) -> Result<()> {
        if self.read_only {
            let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
            add_attributes(&self.mount, read_only, false).at(Stage::Root, || "making the root read-only")?;
        }
        rustix::process::fchdir(&self.mount).at(Stage::Root, || "entering the root")?;
        // The old root then lies on top of the new one, at the same place.
        rustix::process::pivot_root(".", ".").at(Stage::Root, || "pivot_root")?;
        unmount(".", UnmountFlags::DETACH).at(Stage::Root, || "unmounting the host's tree")?;
        rustix::process::chdir("/").at(Stage::Root, || "entering the root")
    }
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
