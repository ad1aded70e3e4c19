//! What is mounted, and whose rights count.

use std::borrow::Cow;
use std::fmt;
use std::sync::{MutexGuard, PoisonError};

use super::{Ino, Inode, SharedTree, Tree};

/// Whose rights count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Effective capabilities, a bit each.
    pub(crate) capabilities: u64,
}

pub(super) const CAP_CHOWN: u32 = 0;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_FOWNER: u32 = 3;

impl Credentials {
    /// All rights: the engine's own.
    pub(crate) fn engine() -> Self {
        Self {
            capabilities: u64::MAX,
            ..Self::default()
        }
    }

    pub(crate) fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// Whether the bits (4 read, 2 write, 1 execute) are granted.
    pub(super) fn may(&self, inode: &Inode, bits: u32) -> bool {
        if self.has(CAP_DAC_OVERRIDE) {
            return bits & 1 == 0 || inode.is_dir() || inode.mode & 0o111 != 0;
        }
        let shift = if inode.uid == self.uid {
            6
        } else if inode.gid == self.gid || self.groups.contains(&inode.gid) {
            3
        } else {
            0
        };
        inode.mode >> shift & bits == bits
    }

    pub(super) fn owns(&self, inode: &Inode) -> bool {
        inode.uid == self.uid || self.has(CAP_FOWNER)
    }
}

/// What kind of file system is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FsType {
    Overlay,
    Ext4,
    Tmpfs,
    Proc,
    Sysfs,
    Devpts,
    Mqueue,
    Cgroup,
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlay => "overlay",
            Self::Ext4 => "ext4",
            Self::Tmpfs => "tmpfs",
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
            Self::Devpts => "devpts",
            Self::Mqueue => "mqueue",
            Self::Cgroup => "cgroup2",
        })
    }
}

/// A tree, or a directory of it, at a path.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Normalised and absolute.
    pub(crate) target: Cow<'static, str>,
    pub(crate) tree: SharedTree,
    pub(crate) root: Ino,
    pub(crate) read_only: bool,
    pub(crate) fs_type: FsType,
}

impl Mount {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stat(2) tells.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
}
