//! Paths inside a container's root: resolved by the kernel below a descriptor of the root, never as paths of the host.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;

/// Symlinks are followed, inside the root.
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Symlinks are refused, with `ELOOP`.
const STRICT: ResolveFlags = IN_ROOT.union(ResolveFlags::NO_SYMLINKS);

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// Opens a directory inside `root`; symlinks are followed inside of it.
pub(crate) fn directory(root: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY, IN_ROOT)
}

/// Opens what is at `path` inside `root` without following any symlink.
pub(crate) fn strictly(root: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    // Not O_NOFOLLOW: that would open a symlink at the end instead of refusing it.
    open(root, path, OFlags::PATH, STRICT)
}

/// The place inside `root` to mount something at; made where it is missing.
pub(crate) fn mountpoint(root: impl AsFd, path: &str, kind: Kind) -> io::Result<OwnedFd> {
    match strictly(&root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
    match kind {
        Kind::Directory => make_directories(&root, path, STRICT)?,
        Kind::File => {
            make_directories(&root, parent, STRICT)?;
            let parent = open(&root, parent, OFlags::PATH | OFlags::DIRECTORY, STRICT)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
            openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
        }
    }
    strictly(&root, path)
}

/// Makes a directory and those above it where they are missing; symlinks are followed inside of `root`.
pub(crate) fn make_working_dir(root: impl AsFd, path: &str) -> io::Result<()> {
    make_directories(root, path, IN_ROOT)
}

fn make_directories(root: impl AsFd, path: &str, resolve: ResolveFlags) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut parent = open(&root, "/", flags, resolve)?;
    let mut reached = String::new();
    for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name == ".." {
            return Err(Errno::INVAL.into());
        }
        reached = format!("{reached}/{name}");
        parent = match open(&root, &reached, flags, resolve) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                open(&root, &reached, flags, resolve)?
            }
            other => other?,
        };
    }
    Ok(())
}

/// The content of a regular file inside `root`, of at most `limit` bytes; `None` where there is no such file.
pub(crate) fn read(root: impl AsFd, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    // Not blocking: a FIFO in its place must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(root, path, flags, IN_ROOT) {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR)) => {
            return Ok(None);
        }
        other => other?,
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not a regular file",
        ));
    }
    let mut bytes = Vec::new();
    File::from(file).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it is longer than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(bytes))
}

fn open(root: impl AsFd, path: &str, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { "/" } else { path };
    loop {
        // The kernel gives up where something was renamed meanwhile; it does not say that twice for ever.
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
}
