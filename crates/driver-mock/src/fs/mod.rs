//! File systems in memory: trees of inodes, mounts over each other, and paths through them.

mod archive;
mod content;
mod mount;
mod tree;
mod view;
mod walk;

use std::fmt;

pub(crate) use archive::{pack, unpack};
pub(crate) use content::Content;
pub(crate) use mount::{Credentials, FsType, Mount};
pub(crate) use tree::{Ino, Inode, Kind, ROOT, SharedTree, Tree};
pub(crate) use view::View;

/// The name of an error of errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) &'static str);

impl Errno {
    pub(crate) const EACCES: Self = Self("EACCES");
    pub(crate) const EEXIST: Self = Self("EEXIST");
    pub(crate) const EINVAL: Self = Self("EINVAL");
    pub(crate) const EISDIR: Self = Self("EISDIR");
    pub(crate) const ELOOP: Self = Self("ELOOP");
    pub(crate) const ENOENT: Self = Self("ENOENT");
    pub(crate) const ENOSPC: Self = Self("ENOSPC");
    pub(crate) const ENOTDIR: Self = Self("ENOTDIR");
    pub(crate) const ENOTEMPTY: Self = Self("ENOTEMPTY");
    pub(crate) const EPERM: Self = Self("EPERM");
    pub(crate) const EROFS: Self = Self("EROFS");
    pub(crate) const EXDEV: Self = Self("EXDEV");
    pub(crate) const EBUSY: Self = Self("EBUSY");
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            "EACCES" => "permission denied",
            "EEXIST" => "file exists",
            "EISDIR" => "is a directory",
            "ELOOP" => "too many levels of symbolic links",
            "ENOENT" => "no such file or directory",
            "ENOSPC" => "no space left on device",
            "ENOTDIR" => "not a directory",
            "ENOTEMPTY" => "directory not empty",
            "EROFS" => "read-only file system",
            other => other,
        })
    }
}

/// The result of a simulated system call.
pub(crate) type Sys<T> = std::result::Result<T, Errno>;
