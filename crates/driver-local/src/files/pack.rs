//! A file or directory below a root as a tar.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::readable;
use crate::rootfs::{Place, Root, names_in};

/// What is to be packed: where it is, and the name it gets.
#[derive(Debug)]
pub(super) struct Found {
    path: OwnedFd,
    name: PathBuf,
}

/// Looks for a path, following symbolic links in the root as `docker cp` does on the way but not at the end.
pub(super) fn find(root: &Root, path: &Path) -> io::Result<Found> {
    let is_root = path
        .components()
        .all(|component| !matches!(component, std::path::Component::Normal(_)));
    if is_root {
        return Ok(Found {
            path: root.dir(path)?,
            name: PathBuf::from("."),
        });
    }
    let place = root.place(path)?;
    Ok(Found {
        path: place.open(OFlags::PATH)?,
        name: PathBuf::from(place.name),
    })
}

/// Writes the tar.
pub(super) fn pack(found: &Found, out: &mut impl Write) -> io::Result<()> {
    let mut builder = Builder::new(out);
    let mut packer = Packer {
        builder: &mut builder,
    };
    packer.add(&found.path, &found.name)?;
    builder.finish()
}

struct Packer<'a, W: Write> {
    builder: &'a mut Builder<W>,
}

impl<W: Write> Packer<'_, W> {
    /// Adds what is there, and what is in it: directories wait on a list, so that their depth does not matter.
    fn add(&mut self, path: &OwnedFd, name: &Path) -> io::Result<()> {
        let mut waiting = vec![(path.try_clone()?, name.to_owned())];
        while let Some((path, name)) = waiting.pop() {
            let stat = rustix::fs::fstat(&path)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    self.entry(&stat, EntryType::Directory, &name, io::empty(), 0)?;
                    let directory = readable(&path)?;
                    let mut names = names_in(&directory)?;
                    // Popped in reverse: so they come in order.
                    names.sort_unstable_by(|a, b| b.cmp(a));
                    for child in names {
                        let place = Place::new(directory.try_clone()?.into(), &child);
                        // Gone meanwhile: it is not part of the copy.
                        if let Ok(found) = place.ok_or(io::ErrorKind::InvalidData)?.open(OFlags::PATH) {
                            waiting.push((found, name.join(&child)));
                        }
                    }
                }
                FileType::RegularFile => {
                    let size = u64::try_from(stat.st_size).unwrap_or_default();
                    let file = readable(&path)?;
                    // A file that grows meanwhile is cut, one that shrinks is filled up: the header was sent.
                    let content = file.take(size).chain(io::repeat(0));
                    self.entry(&stat, EntryType::Regular, &name, content, size)?;
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&path, "", Vec::new())?;
                    let mut header = header(&stat, EntryType::Symlink, 0);
                    self.builder
                        .append_link(&mut header, &name, OsStr::from_bytes(target.to_bytes()))?;
                }
                FileType::Fifo => self.entry(&stat, EntryType::Fifo, &name, io::empty(), 0)?,
                // Sockets and devices are nothing to copy.
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        stat: &Stat,
        kind: EntryType,
        name: &Path,
        content: impl Read,
        size: u64,
    ) -> io::Result<()> {
        let mut header = header(stat, kind, size);
        self.builder.append_data(&mut header, name, content.take(size))
    }
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_size(size);
    header
}
