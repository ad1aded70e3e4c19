//! Whose files an archive can become.

use std::ffi::OsStr;

/// The rights of a process over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Those of root of the host.
    Root,
    /// Those of root of a user namespace, over the files of its ids.
    Namespace,
    /// Those of a user: all files are its own.
    User,
}

impl Rights {
    /// Those of this process, which is in the user namespace of the host.
    #[must_use]
    pub fn of_this_process() -> Self {
        match rustix::process::geteuid().is_root() {
            true => Self::Root,
            false => Self::User,
        }
    }

    /// Whether files are given to whom the archive says.
    pub(super) fn keep_owners(self) -> bool {
        self != Self::User
    }

    /// The attribute by which an overlay knows directories that hide those below them; which it is, the options of the mount
    /// say.
    #[must_use]
    pub fn opaque_xattr(self) -> &'static OsStr {
        OsStr::new(match self {
            Self::Root => "trusted.overlay.opaque",
            Self::Namespace | Self::User => "user.overlay.opaque",
        })
    }
}
