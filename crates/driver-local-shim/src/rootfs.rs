//! Files below a root that is not trusted: an image's or a container's. No path leaves the root, whatever symbolic links
//! are in it and whoever swaps them meanwhile: the kernel resolves each one in the root (`openat2`), and what is done to
//! a name is done by the descriptor of its directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// How often a path is resolved again when somebody renames directories on its way at the same moment.
const ATTEMPTS: usize = 128;

/// A directory that bounds all paths: absolute ones begin at it, `..` does not leave it, and symbolic links are followed as
/// a process would that has it for its root.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// A name in a directory; there need not be anything of this name. Symbolic links of this name are never followed.
#[derive(Debug)]
pub struct Place {
    /// The directory: opened with `O_PATH`.
    pub parent: OwnedFd,
    /// One component, neither `.` nor `..`.
    pub name: OsString,
}

impl From<OwnedFd> for Root {
    /// The root is the directory of this descriptor, for example of a mount that has no path.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Root {
    /// The root at a path of the host, which is trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens what is there. A symbolic link at the end is followed unless `flags` have `NOFOLLOW`. It may be a FIFO: for
    /// reading use `NONBLOCK`.
    pub fn open_in(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.create_in(path, flags, Mode::empty())
    }

    /// Opens with flags that may make the file (`CREATE`): `mode` is that of a new one, before the umask.
    pub fn create_in(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, mode, IN_ROOT) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// The directory at a path, following symbolic links.
    pub fn dir(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_in(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// What is there, following symbolic links, also at the end.
    pub fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.open_in(path, OFlags::PATH)?)?)
    }

    /// Where the last component of a path is. Its directory must exist; symbolic links on the way to it are followed.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where the path has no last component: the root itself, or `..` at the end.
    pub fn place(&self, path: &Path) -> io::Result<Place> {
        let Some(Component::Normal(name)) = path.components().next_back() else {
            let message = format!("{} names no entry of a directory", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let parent = self.dir(path.parent().unwrap_or(Path::new("")))?;
        Ok(Place {
            parent,
            name: name.to_owned(),
        })
    }

    /// The directory at a path. It and those above it are made where they are missing, owned by this process, with
    /// exactly this mode. Symbolic links to directories are followed; others are an error.
    pub fn mkdir_all(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        match self.dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let mut reached = PathBuf::new();
        for component in path.components() {
            reached.push(component);
            match self.dir(&reached) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => match self
                    .place(&reached)?
                    .mkdir(mode)
                {
                    // Made by another meanwhile, or a symbolic link to nothing: the next look tells.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => drop(self.dir(&reached)?),
                    made => drop(made?),
                },
                opened => drop(opened?),
            }
        }
        self.dir(path)
    }
}

impl Place {
    /// A name in a directory that is open. `None`: it is not one component.
    pub fn new(parent: OwnedFd, name: &OsStr) -> Option<Self> {
        let mut components = Path::new(name).components();
        let only = matches!(components.next(), Some(Component::Normal(only)) if only == name);
        (only && components.next().is_none()).then(|| Self {
            parent,
            name: name.to_owned(),
        })
    }

    /// What is there; `None`: nothing.
    pub fn stat(&self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The type of what is there; `None`: nothing.
    pub fn file_type(&self) -> io::Result<Option<FileType>> {
        let stat = self.stat()?;
        Ok(stat.map(|stat| FileType::from_raw_mode(stat.st_mode)))
    }

    /// Opens what is there; a symbolic link is an error (`ELOOP`), except with `PATH`.
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.parent,
            &self.name,
            flags,
            Mode::empty(),
        )?)
    }

    /// Makes a file, open for writing; there must be nothing of this name.
    pub fn create(&self, mode: Mode) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.parent, &self.name, flags, mode)?.into())
    }

    /// Makes a directory with exactly this mode, whatever the umask.
    pub fn mkdir(&self, mode: Mode) -> io::Result<()> {
        rustix::fs::mkdirat(&self.parent, &self.name, mode)?;
        self.chmod(mode)
    }

    /// Makes a symbolic link. Its target may be anything.
    pub fn symlink(&self, target: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.parent, &self.name)?)
    }

    /// Makes this another name of what `existing` names; of a symbolic link itself, not of its target.
    pub fn link(&self, existing: &Self) -> io::Result<()> {
        let (old, new) = (existing, self);
        Ok(rustix::fs::linkat(
            &old.parent,
            &old.name,
            &new.parent,
            &new.name,
            AtFlags::empty(),
        )?)
    }

    /// Makes a FIFO, a socket, or a device of this number.
    pub fn mknod(&self, kind: FileType, mode: Mode, device: u64) -> io::Result<()> {
        Ok(rustix::fs::mknodat(&self.parent, &self.name, kind, mode, device)?)
    }

    /// Removes what is there, a directory with all that is in it. Nothing there is fine.
    pub fn remove_all(&self) -> io::Result<()> {
        crate::remove_all(&self.parent, &self.name)
    }

    /// Sets the owner; a symbolic link's own. Clears the set-user-id bits and file capabilities: do it first.
    pub fn chown(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(
            &self.parent,
            &self.name,
            Some(uid),
            Some(gid),
            flags,
        )?)
    }

    /// Sets the permission bits. A symbolic link has none: an error.
    pub fn chmod(&self, mode: Mode) -> io::Result<()> {
        let file = self.open(OFlags::PATH)?;
        Ok(rustix::fs::chmod(by_descriptor(&file), mode)?)
    }

    /// Sets the times; a symbolic link's own.
    pub fn set_times(&self, times: &Timestamps) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(&self.parent, &self.name, times, flags)?)
    }

    /// Sets an extended attribute; a symbolic link's own.
    pub fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::lsetxattr(
            self.path_by_parent(),
            name,
            value,
            XattrFlags::empty(),
        )?)
    }

    /// An extended attribute of what is there, a symbolic link's own; `None`: it has none of this name.
    pub fn xattr(&self, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
        let path = self.path_by_parent();
        let mut value = vec![0; 64 << 10];
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(size) => {
                value.truncate(size);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The names of its extended attributes, a symbolic link's own.
    pub fn xattr_names(&self) -> io::Result<Vec<OsString>> {
        let mut list = vec![0_u8; 64 << 10];
        let size = match rustix::fs::llistxattr(self.path_by_parent(), &mut list[..]) {
            Err(Errno::NOTSUP) => 0,
            size => size?,
        };
        let names = list[..size]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        Ok(names.map(|name| OsStr::from_bytes(name).to_owned()).collect())
    }

    /// Where a symbolic link points to.
    pub fn read_link(&self) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(&self.parent, &self.name, Vec::new())?;
        Ok(OsStr::from_bytes(target.as_bytes()).to_owned())
    }

    /// A path that leads here and nowhere else: only the last component is looked up. For calls that take no descriptor
    /// of the directory, and do not follow a symbolic link at the end.
    fn path_by_parent(&self) -> PathBuf {
        Path::new(&by_descriptor(&self.parent)).join(&self.name)
    }
}

/// The path of what a descriptor has open, for calls that refuse one of `O_PATH`.
pub fn by_descriptor(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests;
