//! Unpacking a tar into a directory: as a layer of an image, or as a copy into a container.
//!
//! - Names are resolved in the root: leading slashes mean nothing, symbolic links are followed as a process would that has it
//!   for its root. In a layer `..` does not lead out of it; in a copy it is refused, as Docker refuses it.
//! - Later entries replace earlier ones of the same name; a directory replaces anything but a directory.
//! - Owner, permissions (the set-user-id bits too: `no_new_privs` makes them harmless), times and the extended attributes
//!   `security.capability` and `user.*` are kept; who is not root owns everything and keeps `user.*` only.
//! - Devices are left out of a layer: the driver mounts a `/dev` of its own, and no other device is any business of an
//!   image's. In a copy they are refused.
//! - Whiteouts of the OCI become those of the overlay file system, and its own markers are left out of the archive's
//!   attributes. That is done for every layer: the same bytes are the same one, wherever they came from. In a copy a name is
//!   a name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use super::archive::{Archive, Entry, Kind};
use super::error::{Error, Result};
use super::names::{self, refused, shown};
use super::rights::Rights;
use super::whiteouts::{self, Whiteouts};
use crate::Limits;
use crate::rootfs::{Place, Root, by_descriptor};

/// Unpacks the tar of a layer into the root of that, and returns the bytes that the files in it have.
///
/// # Errors
///
/// What the archive is refused for, or the file system has refused. What came before it is there.
pub fn unpack_layer<R: Read>(
    archive: &mut Archive<R>,
    root: &Root,
    limits: &Limits,
    rights: Rights,
) -> Result<u64> {
    Unpacker::new(root, limits, Use::Layer, Path::new(""), rights).unpack(archive)
}

/// Unpacks the tar of a caller into a directory of a container's root, which exists.
///
/// # Errors
///
/// As of [`unpack_layer`].
pub fn unpack_copy<R: Read>(
    archive: &mut Archive<R>,
    root: &Root,
    directory: &Path,
    rights: Rights,
) -> Result<()> {
    // The disk of the container is the limit.
    let limits = Limits {
        bytes: u64::MAX,
        ..Limits::default()
    };
    let unpacker = Unpacker::new(root, &limits, Use::Copy, directory, rights);
    unpacker.unpack(archive).map(drop)
}

/// What an archive is unpacked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Layer,
    Copy,
}

struct Unpacker<'a> {
    root: &'a Root,
    limits: &'a Limits,
    purpose: Use,
    /// Where in the root all names begin.
    base: &'a Path,
    rights: Rights,
    /// Permissions and times of directories: set at the end, as what is put into them changes the times, and the
    /// permissions may forbid to put anything.
    directories: BTreeMap<PathBuf, (Mode, Timestamps)>,
    whiteouts: Whiteouts,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(root: &'a Root, limits: &'a Limits, purpose: Use, base: &'a Path, rights: Rights) -> Self {
        Self {
            root,
            limits,
            purpose,
            base,
            rights,
            directories: BTreeMap::new(),
            whiteouts: Whiteouts::new(rights),
            bytes: 0,
            buffer: vec![0; 64 << 10],
        }
    }

    fn unpack<R: Read>(mut self, archive: &mut Archive<R>) -> Result<u64> {
        let unpacked = self.add_all(archive);
        // Also after an error: what is there of a copy stays there.
        let finished = self.finish();
        unpacked.and(finished).map(|()| self.bytes)
    }

    fn add_all<R: Read>(&mut self, archive: &mut Archive<R>) -> Result<()> {
        let mut entries = 0;
        while let Some(entry) = archive.next()? {
            entries += 1;
            if entries > self.limits.entries {
                return Err(refused(format!(
                    "it has more than {} entries",
                    self.limits.entries
                )));
            }
            self.add(archive, &entry)?;
        }
        Ok(())
    }

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
        let failed = |error| written(&entry.path, error);
        let Some(name) = path.file_name() else {
            return self.base_itself(entry).map_err(failed);
        };
        match self.purpose {
            Use::Layer => {
                if let Some(order) = whiteouts::order(name) {
                    let directory = path.parent().unwrap_or(Path::new(""));
                    return self.whiteouts.add(self.root, directory, order).map_err(failed);
                }
                if entry.kind == Kind::Device {
                    return Ok(());
                }
            }
            Use::Copy if entry.kind == Kind::Device => {
                let why = format!("{} is a device", shown(&entry.path));
                return Err(refused(why));
            }
            Use::Copy => {}
        }
        let (path, link) = (self.base.join(path), self.base.join(link));
        self.place(archive, entry, &path, &link)
    }

    fn path(&self, name: &OsStr) -> Result<PathBuf> {
        names::relative(name, self.limits.depth, self.purpose == Use::Layer)
    }

    /// A layer has its root; a copy leaves the directory as it is.
    fn base_itself(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind == Kind::Directory && self.purpose == Use::Layer {
            if self.rights.keep_owners() {
                let root = rustix::fs::openat(self.root, ".", OFlags::RDONLY, Mode::empty())?;
                let given = rustix::fs::fchown(root, uid(entry), gid(entry));
                self.given(entry, given.map_err(io::Error::from))?;
            }
            self.directories
                .insert(PathBuf::new(), (Mode::from_raw_mode(entry.mode), times(entry)));
        }
        Ok(())
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
            Kind::File => return self.file(archive, &place, entry),
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
                [] => break,
                // A hole stays one.
                _ if piece.iter().all(|byte| *byte == 0) => {
                    file.seek_relative(count as i64).map_err(failed)?;
                }
                _ => file.write_all(piece).map_err(failed)?,
            }
        }
        file.set_len(entry.size).map_err(failed)?;
        self.describe_file(&file, entry).map_err(failed)
    }

    /// Owner, attributes, permissions, times: in this order, as a change of the owner takes privileges away.
    fn describe(&mut self, place: &Place, entry: &Entry, path: &Path) -> io::Result<()> {
        if self.rights.keep_owners() {
            self.given(entry, place.chown(entry.uid, entry.gid))?;
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

    /// Likewise for a file, by its descriptor: whoever may write to the directory may have put another of the name there.
    fn describe_file(&self, file: &File, entry: &Entry) -> io::Result<()> {
        if self.rights.keep_owners() {
            let given = rustix::fs::fchown(file, uid(entry), gid(entry));
            self.given(entry, given.map_err(io::Error::from))?;
        }
        for (name, value) in &entry.xattrs {
            if self.keeps(name) {
                rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?;
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
        Ok(rustix::fs::futimens(file, &times(entry))?)
    }

    /// A namespace has no other ids than those that were granted.
    fn given(&self, entry: &Entry, given: io::Result<()>) -> io::Result<()> {
        given.map_err(|error| match (self.rights, error.kind()) {
            (Rights::Namespace, io::ErrorKind::InvalidInput) => io::Error::other(format!(
                "its owner {}:{} does not exist here; grant more ids in /etc/subuid and /etc/subgid",
                entry.uid, entry.gid
            )),
            _ => error,
        })
    }

    fn keeps(&self, xattr: &OsString) -> bool {
        let name = xattr.as_bytes();
        (name == b"security.capability" && self.rights.keep_owners())
            || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
    }

    /// Makes the whiteouts, and sets permissions and times of directories, the deeper ones first. One that was replaced by
    /// something else has none.
    fn finish(&self) -> Result<()> {
        self.whiteouts
            .make(self.root)
            .map_err(|(path, error)| written(path.as_os_str(), error))?;
        for (path, (mode, times)) in self.directories.iter().rev() {
            self.finish_directory(path, *mode, times)
                .map_err(|error| written(path.as_os_str(), error))?;
        }
        Ok(())
    }

    fn finish_directory(&self, path: &Path, mode: Mode, times: &Timestamps) -> io::Result<()> {
        let opened = if path.as_os_str().is_empty() {
            self.root.dir(path)
        } else {
            let place = self.root.place(path);
            place.and_then(|place| place.open(OFlags::PATH | OFlags::DIRECTORY))
        };
        let Ok(directory) = opened else {
            return Ok(());
        };
        let directory = by_descriptor(&directory);
        rustix::fs::chmod(&directory, mode)?;
        Ok(rustix::fs::utimensat(CWD, &directory, times, AtFlags::empty())?)
    }
}

fn uid(entry: &Entry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn gid(entry: &Entry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
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

fn written(path: &OsStr, error: io::Error) -> Error {
    Error::File {
        path: shown(path),
        error,
    }
}
