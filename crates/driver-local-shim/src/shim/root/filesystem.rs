//! New mounts by descriptor.

use std::fmt::Display;
use std::os::fd::OwnedFd;

use driver_local_shim::Stage;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use crate::failure::{At, Result};

/// The longest value of an option that the kernel takes, in bytes.
pub(super) const LONGEST_VALUE: usize = 255;

/// A file system that is being configured.
pub(super) struct Filesystem {
    kind: &'static str,
    context: OwnedFd,
}

impl Filesystem {
    pub(super) fn new(kind: &'static str) -> Result<Self> {
        let context =
            fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at(Stage::Root, || format!("file system {kind}"))?;
        let filesystem = Self { kind, context };
        // What /proc/mounts shows.
        filesystem.set("source", kind)?;
        Ok(filesystem)
    }

    /// Sets an option, with a value of at most [`LONGEST_VALUE`].
    pub(super) fn set(&self, option: &str, value: impl Display) -> Result<()> {
        let value = value.to_string();
        self.told(fsconfig_set_string(&self.context, option, value.as_str()), || {
            format!("{option}={value}")
        })
    }

    pub(super) fn set_flag(&self, option: &str) -> Result<()> {
        self.told(fsconfig_set_flag(&self.context, option), || option.to_owned())
    }

    /// Makes a detached mount of it.
    pub(super) fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd> {
        self.told(fsconfig_create(&self.context), || "creating it".to_owned())?;
        let mount = fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
        self.told(mount, || "mounting it".to_owned())
    }

    /// Adds the kernel's own explanation to an error.
    fn told<T>(&self, result: rustix::io::Result<T>, what: impl FnOnce() -> String) -> Result<T> {
        result.at(Stage::Root, || {
            let mut text = [0; 512];
            let length = rustix::io::read(&self.context, &mut text).unwrap_or(0);
            let explanation = String::from_utf8_lossy(&text[..length]);
            format!("file system {}: {}: {}", self.kind, what(), explanation.trim())
        })
    }
}

/// An empty directory, for ever.
pub(super) fn nothing() -> Result<OwnedFd> {
    let empty = Filesystem::new("tmpfs")?;
    empty.set("nr_inodes", 1)?;
    empty.set("mode", "0755")?;
    empty.mount(PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// A directory in memory for a few others.
pub(super) fn directories() -> Result<OwnedFd> {
    let memory = Filesystem::new("tmpfs")?;
    memory.set("nr_inodes", 8)?;
    memory.set("mode", "0555")?;
    memory.mount(PLAIN)
}

/// The attributes of a mount that holds data only.
pub(super) const DATA: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// The attributes of a mount that holds no programs either.
pub(super) const PLAIN: MountAttrFlags = DATA.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
