//! Unpacking the tar of a layer into a directory.
//!
//! - Names are resolved in the directory: `..` and leading slashes mean its root, symbolic links of the archive are followed
//!   inside it only. A hard link can only be to what the archive made.
//! - Later entries replace earlier ones of the same name; a directory replaces anything but a directory.
//! - Owner, permissions (the set-user-id bits too: `no_new_privs` makes them harmless), times and the extended attributes
//!   `security.capability` and `user.*` are kept; who is not root owns everything and keeps `user.*` only.
//! - Devices are left out: the driver mounts a `/dev` of its own, and no other device is any business of an image's.
//! - Whiteouts of the OCI become those of the overlay file system, and its own markers are left out of the archive's
//!   attributes. That is done for every archive: the same bytes are the same layer, wherever they came from.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use driver_types::{DriverError, Result};
use rustix::fs::{FileType, Mode, Timespec, Timestamps};

use super::archive::{Archive, Entry, Kind};
use crate::rootfs::{Place, Root};

/// What an archive may have at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries.
    pub(crate) entries: u64,
    /// Bytes without compression.
    pub(crate) bytes: u64,
    /// Components of a path.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 32 << 30,
            depth: 256,
        }
    }
}

/// A path has less than this many bytes: what the kernel takes.
const MAX_PATH: usize = 4096;

/// The attributes by which an overlay knows directories that hide those below them; which of them, the options of the
/// mount say.
pub(super) fn opaque_xattr(root: bool) -> &'static OsStr {
    OsStr::new(if root {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    })
}

/// Unpacks what the archive has into the directory, and returns the bytes that the files in it have.
pub(super) fn unpack<R: Read>(archive: &mut Archive<R>, root: &Root, limits: &Limits) -> Result<u64> {
    let mut unpacker = Unpacker {
        root,
        limits,
        is_root: rustix::process::geteuid().is_root(),
        directories: BTreeMap::new(),
        hidden: BTreeSet::new(),
        bytes: 0,
        buffer: vec![0; 64 << 10],
    };
    let mut entries = 0;
    while let Some(entry) = archive.next()? {
        entries += 1;
        if entries > limits.entries {
            return Err(refused(format!("it has more than {} entries", limits.entries)));
        }
        unpacker.add(archive, &entry)?;
    }
    unpacker.finish()
}

fn refused(why: impl std::fmt::Display) -> DriverError {
    DriverError::file_system(format!("the archive is refused: {why}"))
}

fn shown(path: &OsStr) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

struct Unpacker<'a> {
    root: &'a Root,
    limits: &'a Limits,
    is_root: bool,
    /// Permissions and times of directories: set at the end, as what is put into them changes the times, and the
    /// permissions may forbid to put anything.
    directories: BTreeMap<PathBuf, (Mode, Timestamps)>,
    /// What this layer hides of those below: made at the end, as it is about them and not about what this one has.
    hidden: BTreeSet<PathBuf>,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn add<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<()> {
        let path = self.path(&entry.path)?;
        let link = match entry.kind {
            Kind::HardLink => self.path(&entry.link)?,
            _ => PathBuf::new(),
        };
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > self.limits.bytes {
            return Err(refused(format!(
                "its files have more than {} bytes",
                self.limits.bytes
            )));
        }
        let result = match path.file_name() {
            None => self.root_itself(entry),
            Some(name) => match name.as_bytes().strip_prefix(b".wh.") {
                Some(hidden) => self.whiteout(&path, OsStr::from_bytes(hidden)),
                None if entry.kind == Kind::Device => Ok(()),
                None => return self.place(archive, entry, &path, &link),
            },
        };
        result.map_err(|error| written(&entry.path, error))
    }

    /// A name of the archive below the root, without `.`, `..` and slashes at its ends.
    fn path(&self, name: &OsStr) -> Result<PathBuf> {
        if name.len() >= MAX_PATH {
            return Err(refused(format!(
                "the path {:.80}... has more than {MAX_PATH} bytes",
                shown(name)
            )));
        }
        if name.as_bytes().contains(&0) {
            return Err(refused(format!("the path {} has a NUL byte", shown(name))));
        }
        let mut path = PathBuf::new();
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::ParentDir => drop(path.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if path.components().count() > self.limits.depth {
            let message = format!(
                "the path {:.80}... is deeper than {}",
                shown(name),
                self.limits.depth
            );
            return Err(refused(message));
        }
        Ok(path)
    }

    fn root_itself(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind == Kind::Directory {
            let root = rustix::fs::openat(self.root, ".", rustix::fs::OFlags::RDONLY, Mode::empty())?;
            if self.is_root {
                let (uid, gid) = (
                    rustix::fs::Uid::from_raw(entry.uid),
                    rustix::fs::Gid::from_raw(entry.gid),
                );
                rustix::fs::fchown(root, Some(uid), Some(gid))?;
            }
            self.directories
                .insert(PathBuf::new(), (Mode::from_raw_mode(entry.mode), times(entry)));
        }
        Ok(())
    }

    /// `.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` all that they have in its directory. Other names that
    /// begin with two of these prefixes are notes of an old engine to itself.
    fn whiteout(&mut self, path: &Path, hidden: &OsStr) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if hidden == ".wh..opq" {
            return self.make_opaque(parent);
        }
        if !hidden.is_empty() && hidden != "." && hidden != ".." && !hidden.as_bytes().starts_with(b".wh.") {
            self.hidden.insert(parent.join(hidden));
        }
        Ok(())
    }

    /// Hides a name of the layers below. What this layer has of this name stays; if it is a directory, it does not show
    /// what they have in theirs.
    fn hide(&self, path: &Path) -> io::Result<()> {
        self.root
            .mkdir_all(path.parent().unwrap_or(Path::new("")), Mode::from_raw_mode(0o755))?;
        let place = self.root.place(path)?;
        match place.file_type()? {
            Some(FileType::Directory) => self.make_opaque(path),
            Some(_) => Ok(()),
            None => place.mknod(FileType::CharacterDevice, Mode::empty(), 0),
        }
    }

    fn make_opaque(&self, directory: &Path) -> io::Result<()> {
        let directory = self.root.mkdir_all(directory, Mode::from_raw_mode(0o755))?;
        let path = crate::rootfs::by_descriptor(&directory);
        let flags = rustix::fs::XattrFlags::empty();
        Ok(rustix::fs::setxattr(
            path,
            opaque_xattr(self.is_root),
            b"y",
            flags,
        )?)
    }

    fn place<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
        path: &Path,
        link: &Path,
    ) -> Result<()> {
        let failed = |error| written(&entry.path, error);
        let place = self.make_way(entry, path).map_err(failed)?;
        if entry.kind == Kind::HardLink {
            return self.hard_link(&place, path, link).map_err(failed);
        }
        let before = place.file_type().map_err(failed)?;
        if let Some(before) = before
            && (before != FileType::Directory || entry.kind != Kind::Directory)
        {
            place.remove_all().map_err(failed)?;
        }
        match entry.kind {
            Kind::File => self.file(archive, &place, entry)?,
            Kind::Directory if before == Some(FileType::Directory) => {}
            Kind::Directory => place.mkdir(Mode::RWXU).map_err(failed)?,
            Kind::Symlink => place.symlink(&entry.link).map_err(failed)?,
            Kind::Fifo => place
                .mknod(FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .map_err(failed)?,
            Kind::HardLink | Kind::Device => {}
        }
        self.describe(&place, entry, path).map_err(failed)
    }

    /// Where an entry goes; the directories on the way are made.
    fn make_way(&self, entry: &Entry, path: &Path) -> io::Result<Place> {
        if entry.kind == Kind::Symlink && (entry.link.is_empty() || entry.link.as_bytes().contains(&0)) {
            let message = "a symbolic link without a target, or with a NUL byte in it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let parent = self.root.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
        let name = path.file_name().unwrap_or_default();
        Place::new(parent, name).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn hard_link(&self, place: &Place, path: &Path, link: &Path) -> io::Result<()> {
        let to = shown(link.as_os_str());
        let not = |kind, why| io::Error::new(kind, format!("it is a hard link to {to}, {why}"));
        let missing = || not(io::ErrorKind::NotFound, "which the archive does not have");
        let existing = match self.root.place(link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            existing => existing?,
        };
        match existing.file_type()? {
            None => return Err(missing()),
            Some(FileType::Directory) => {
                return Err(not(io::ErrorKind::InvalidInput, "which is a directory"));
            }
            Some(_) if path == link => return Ok(()),
            Some(_) => {}
        }
        place.remove_all()?;
        place.link(&existing)
    }

    fn file<R: Read>(&mut self, archive: &mut Archive<R>, place: &Place, entry: &Entry) -> Result<()> {
        let failed = |error| written(&entry.path, error);
        let mut file = place.create(Mode::RUSR | Mode::WUSR).map_err(failed)?;
        loop {
            let count = archive.read(&mut self.buffer)?;
            let piece = &self.buffer[..count];
            match piece {
                [] => return file.set_len(entry.size).map_err(failed),
                // A hole stays one.
                _ if piece.iter().all(|byte| *byte == 0) => {
                    file.seek_relative(count as i64).map_err(failed)?;
                }
                _ => file.write_all(piece).map_err(failed)?,
            }
        }
    }

    /// Owner, attributes, permissions, times: in this order, as a change of the owner takes privileges away.
    fn describe(&mut self, place: &Place, entry: &Entry, path: &Path) -> io::Result<()> {
        if self.is_root {
            place.chown(entry.uid, entry.gid)?;
        }
        for (name, value) in &entry.xattrs {
            if self.keeps(name) && entry.kind != Kind::Symlink && entry.kind != Kind::Fifo {
                place.set_xattr(name, value)?;
            }
        }
        let mode = Mode::from_raw_mode(entry.mode);
        match entry.kind {
            Kind::Directory => {
                self.directories.insert(path.to_owned(), (mode, times(entry)));
                Ok(())
            }
            Kind::Symlink => place.set_times(&times(entry)),
            _ => {
                place.chmod(mode)?;
                place.set_times(&times(entry))
            }
        }
    }

    fn keeps(&self, xattr: &OsString) -> bool {
        let name = xattr.as_bytes();
        (name == b"security.capability" && self.is_root)
            || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
    }

    /// Makes the whiteouts, and sets permissions and times of directories, the deeper ones first. One that was replaced by
    /// something else has none.
    fn finish(self) -> Result<u64> {
        for path in &self.hidden {
            self.hide(path)
                .map_err(|error| written(path.as_os_str(), error))?;
        }
        for (path, (mode, times)) in self.directories.iter().rev() {
            let failed = |error| written(path.as_os_str(), error);
            if path.as_os_str().is_empty() {
                let root = crate::rootfs::by_descriptor(self.root);
                rustix::fs::chmod(&root, *mode).map_err(|errno| failed(errno.into()))?;
                rustix::fs::utimensat(rustix::fs::CWD, &root, times, rustix::fs::AtFlags::empty())
                    .map_err(|errno| failed(errno.into()))?;
                continue;
            }
            let Ok(place) = self.root.place(path) else {
                continue;
            };
            if place.file_type().map_err(failed)? == Some(FileType::Directory) {
                place.chmod(*mode).map_err(failed)?;
                place.set_times(times).map_err(failed)?;
            }
        }
        Ok(self.bytes)
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec {
        tv_sec: entry.mtime.0,
        tv_nsec: entry.mtime.1.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn written(path: &OsStr, error: io::Error) -> DriverError {
    DriverError::file_system(format!("cannot unpack {}: {error}", shown(path))).with_source(error)
}
