//! A mount namespace with nothing of the host in it: those of containers are copies of it. To copy the host's takes the longer the
//! more is mounted there, and the disks of all other containers are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::Stage;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, unlinkat};
use rustix::mount::MountAttrFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{SYSTEM, attach_at, filesystem, host, leave_for, make_private, umask_nothing};
use crate::failure::{At, Failure, Result};
use crate::forked::{Forked, receive, send};
use crate::sys::add_attributes;

/// Where a root is built in a copy.
pub(super) const BUILDING: &str = "root";

/// The namespace, which is there as long as it is open. Its root is a directory that nobody can write to, with a few others.
pub(crate) struct Bare(OwnedFd);

impl Bare {
    /// Makes one, in a process of its own: this one stays where it is.
    ///
    /// # Errors
    ///
    /// This process is not root, or may not make devices: then it needs those of the host's tree.
    pub(crate) fn make() -> Result<Self> {
        let maker = Forked::make(0, None, |asker| {
            if let Ok(namespace) = make() {
                let _ = send(&asker, &(), &[namespace.as_fd()]);
            }
        })?;
        let made = receive::<()>(&maker.socket).at(Stage::Namespaces, || "an empty mount namespace");
        let ((), mut namespaces) = made?;
        let missing = || Failure::new(Stage::Namespaces, "an empty mount namespace");
        namespaces.next().map(Self).ok_or_else(missing)
    }

    /// Moves this process into a copy, and gives its root.
    pub(super) fn enter(&self) -> Result<OwnedFd> {
        let entered = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Mount));
        entered.at(Stage::Namespaces, || "empty mount namespace")?;
        unshare(CloneFlags::CLONE_NEWNS).at(Stage::Namespaces, || "mount namespace")?;
        host("/")
    }
}

impl AsFd for Bare {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn make() -> Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNS).at(Stage::Namespaces, || "mount namespace")?;
    // There is no /proc in it.
    let path = "/proc/self/ns/mnt";
    let namespace = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    make_private()?;
    umask_nothing();
    let root = filesystem::directories()?;
    let mode = Mode::from_raw_mode(0o555);
    let system = SYSTEM.map(|path| path.trim_start_matches('/'));
    for name in system.into_iter().chain([BUILDING]) {
        mkdirat(&root, name, mode).at(Stage::Root, || "an empty root")?;
    }
    make_device(&root)?;
    add_attributes(&root, MountAttrFlags::MOUNT_ATTR_RDONLY, false).at(Stage::Root, || "an empty root")?;
    attach_at(&root, host("/")?, "an empty root")?;
    leave_for(&root)?;
    namespace.at(Stage::Namespaces, || path)
}

/// Makes sure that devices can be made.
fn make_device(root: &OwnedFd) -> Result<()> {
    const NAME: &str = "null";
    let mode = Mode::from_raw_mode(0o600);
    mknodat(root, NAME, FileType::CharacterDevice, mode, makedev(1, 3))
        .and_then(|()| unlinkat(root, NAME, AtFlags::empty()))
        .at(Stage::Root, || "a device")
}
