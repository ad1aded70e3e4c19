//! /dev: a few devices that are harmless, terminals, shared memory, message queues.

use std::os::fd::OwnedFd;

use driver_local_shim::{Stage, UserNamespace};
use rustix::fs::{FileType, Mode, OFlags, fstat, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use super::filesystem::{Filesystem, PLAIN};
use super::{attach, attach_at, copy_of, host};
use crate::failure::{At, Failure, Result};
use crate::inside::{self, Kind};

/// Name, major and minor number.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// A mounted /dev.
pub(super) struct Dev {
    pub(super) mount: OwnedFd,
    pts: OwnedFd,
    /// Surely the null device.
    pub(super) null: OwnedFd,
}

/// The two ends of a terminal.
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// Mounts /dev and what is in it. All of it is named below the new mount's own descriptor.
pub(super) fn mount(root: &OwnedFd, shm_bytes: u64, user: Option<&UserNamespace>) -> Result<Dev> {
    let memory = Filesystem::new("tmpfs")?;
    memory.set("mode", "0755")?;
    memory.set("size", "64k")?;
    let dev = memory.mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    attach(&dev, root, "/dev", Kind::Directory)?;
    for (name, major, minor) in NODES {
        add_node(&dev, name, makedev(major, minor))?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).at(Stage::Root, || format!("/dev/{name}"))?;
    }
    let pts = terminals(user)?;
    attach_below(&pts, &dev, "pts")?;
    attach_below(&shared_memory(shm_bytes)?, &dev, "shm")?;
    attach_below(&Filesystem::new("mqueue")?.mount(PLAIN)?, &dev, "mqueue")?;
    let null = verified(&dev, "null", makedev(1, 3))?;
    Ok(Dev {
        mount: dev,
        pts,
        null,
    })
}

fn terminals(user: Option<&UserNamespace>) -> Result<OwnedFd> {
    let pts = Filesystem::new("devpts")?;
    pts.set_flag("newinstance")?;
    pts.set("ptmxmode", "0666")?;
    pts.set("mode", "0620")?;
    // The group `tty` of nearly all systems. One that is not mapped is refused.
    if user.is_none_or(|user| user.gids.iter().any(|map| maps(*map, 5))) {
        pts.set("gid", "5")?;
    }
    pts.mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

fn maps(map: driver_local_shim::IdMap, id: u32) -> bool {
    id.checked_sub(map.inside)
        .is_some_and(|offset| offset < map.count)
}

fn shared_memory(bytes: u64) -> Result<OwnedFd> {
    let memory = Filesystem::new("tmpfs")?;
    memory.set("mode", "1777")?;
    // 0 would be no limit.
    memory.set("size", bytes.max(4096))?;
    memory.mount(PLAIN)
}

fn attach_below(mount: &OwnedFd, dev: &OwnedFd, name: &str) -> Result<()> {
    mkdirat(dev, name, Mode::from_raw_mode(0o755)).at(Stage::Root, || format!("/dev/{name}"))?;
    let place = inside::strictly(dev, name).at(Stage::Root, || format!("/dev/{name}"))?;
    attach_at(mount, place, name)
}

/// Makes a device; where that is not allowed (in a user namespace, or by the devices cgroup), binds the host's.
fn add_node(dev: &OwnedFd, name: &str, device: u64) -> Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    match mknodat(dev, name, FileType::CharacterDevice, mode, device) {
        Err(Errno::PERM) => {}
        other => return other.at(Stage::Root, || format!("/dev/{name}")),
    }
    let theirs = verified(&host("/dev")?, name, device)?;
    bind(theirs, dev, name)
}

fn bind(source: OwnedFd, dev: &OwnedFd, name: &str) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    openat(dev, name, flags, Mode::from_raw_mode(0o666)).at(Stage::Root, || format!("/dev/{name}"))?;
    let place = inside::strictly(dev, name).at(Stage::Root, || format!("/dev/{name}"))?;
    attach_at(copy_of(source, false, name)?, place, name)
}

/// Opens a device and makes sure that it is the one meant.
fn verified(dev: &OwnedFd, name: &str, device: u64) -> Result<OwnedFd> {
    let node = inside::strictly(dev, name).at(Stage::Root, || format!("/dev/{name}"))?;
    let stat = fstat(&node).at(Stage::Root, || format!("/dev/{name}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != device {
        return Err(Failure::new(
            Stage::Root,
            format!("/dev/{name} is another device"),
        ));
    }
    Ok(node)
}

impl Dev {
    /// Opens a terminal of the container's own and binds it to /dev/console. By descriptors from end to end: a file that
    /// was put in the place of a terminal is never used (CVE-2025-52565).
    pub(super) fn open_terminal(&self) -> Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let open = || {
            let oflags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let master = openat(&self.pts, "ptmx", oflags, Mode::empty())?;
            unlockpt(&master)?;
            let slave = ioctl_tiocgptpeer(&master, flags)?;
            rustix::io::Result::Ok(Terminal { master, slave })
        };
        let terminal = open().at(Stage::Root, || "opening a terminal")?;
        let slave = terminal.slave.try_clone().at(Stage::Root, || "the terminal")?;
        bind(slave, &self.mount, "console")?;
        Ok(terminal)
    }
}
