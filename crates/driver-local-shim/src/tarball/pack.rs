//! Packing what is below a root into a tar: the writable layer of a container, or a copy out of one.
//!
//! The tree is a stranger's, who may be at it. Its depth does not matter; nothing is opened but what was seen to be a file or
//! a directory; and file systems of the kernel are not gone into: they have no end.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::rights::Rights;
use crate::names_in;
use crate::rootfs::{Place, Root, by_descriptor};

/// Packs the upper directory of an overlay as a layer: hidden names become whiteouts of the OCI.
///
/// # Errors
///
/// Those of the file system and of the writer, with the path.
pub fn pack_layer(root: &Root, writer: impl Write, rights: Rights) -> io::Result<()> {
    let mut packer = Packer::new(writer, Some(rights));
    packer.tree(root, Path::new(""))?;
    packer.tar.into_inner()?.flush()
}

/// Something that is to be copied out of a container: looked up before the first byte.
#[derive(Debug)]
pub struct Found {
    what: What,
    /// How the names in the archive begin.
    name: PathBuf,
}

#[derive(Debug)]
enum What {
    Entry(Place),
    /// The root, or a directory that is named by the way to it.
    Directory(Root),
}

impl Found {
    /// Looks for a path. Symbolic links on the way are followed in the root; one at the end is what is copied.
    ///
    /// # Errors
    ///
    /// Those of the file system; `Unsupported` for what is in one of the kernel's.
    pub fn look(root: &Root, path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            let directory = Root::from(root.dir(path)?);
            refuse_kernels(&directory)?;
            return Ok(Self {
                what: What::Directory(directory),
                name: PathBuf::new(),
            });
        };
        let place = root.place(path)?;
        refuse_kernels(place.open(OFlags::PATH)?)?;
        Ok(Self {
            what: What::Entry(place),
            name: PathBuf::from(name),
        })
    }

    /// Packs it, with all that is in it.
    ///
    /// # Errors
    ///
    /// As of [`pack_layer`].
    pub fn pack(&self, writer: impl Write) -> io::Result<()> {
        let mut packer = Packer::new(writer, None);
        match &self.what {
            What::Directory(root) => packer.tree(root, &self.name)?,
            What::Entry(place) => {
                if packer.add(place, &self.name)? {
                    let directory = place.open(OFlags::PATH | OFlags::DIRECTORY)?;
                    packer.below(&Root::from(directory), &self.name)?;
                }
            }
        }
        packer.tar.into_inner()?.flush()
    }
}

struct Packer<W: Write> {
    tar: Builder<W>,
    /// Of a layer: who made the overlay.
    layer: Option<Rights>,
    /// The first name of each file with several.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<W> {
    fn new(writer: W, layer: Option<Rights>) -> Self {
        Self {
            tar: Builder::new(writer),
            layer,
            linked: HashMap::new(),
        }
    }

    /// Adds a directory and all that is in it.
    fn tree(&mut self, root: &Root, name: &Path) -> io::Result<()> {
        let stat = rustix::fs::fstat(root)?;
        self.directory(&stat, name)?;
        self.below(root, name)
    }

    /// Adds what is in a directory.
    fn below(&mut self, root: &Root, name: &Path) -> io::Result<()> {
        // Without recursion: see above.
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            let failed = |error| named(&name.join(&directory), error);
            let mut names = match root.open_in(&directory, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(error) if self.is_gone(&error) => continue,
                opened => names_in(opened.map_err(failed)?).map_err(failed)?,
            };
            names.sort();
            for child in names {
                let path = directory.join(&child);
                let shown = name.join(&path);
                let added = root.place(&path).and_then(|place| self.add(&place, &shown));
                match added {
                    Ok(true) => directories.push(path),
                    Ok(false) => {}
                    Err(error) if self.is_gone(&error) => {}
                    Err(error) => return Err(named(&shown, error)),
                }
            }
        }
        Ok(())
    }

    /// Whether something went away while a living container is copied; or became something else.
    fn is_gone(&self, error: &io::Error) -> bool {
        let gone = [ErrorKind::NotFound, ErrorKind::NotADirectory];
        self.layer.is_none() && gone.contains(&error.kind())
    }

    /// Adds one entry; whether it is a directory to go into.
    fn add(&mut self, place: &Place, name: &Path) -> io::Result<bool> {
        let opened = place.open(OFlags::PATH)?;
        let stat = rustix::fs::fstat(&opened)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let opaque = self.describe(place)?;
                self.directory(&stat, name)?;
                if opaque {
                    self.whiteout(&name.join(".wh..wh..opq"))?;
                }
                return Ok(!is_kernels(&opened)?);
            }
            FileType::CharacterDevice if self.layer.is_some() && stat.st_rdev == 0 => {
                let mut hidden = b".wh.".to_vec();
                hidden.extend_from_slice(place.name.as_bytes());
                self.whiteout(&name.with_file_name(OsStr::from_bytes(&hidden)))?;
            }
            FileType::RegularFile => self.file(name, place, &opened, &stat)?,
            FileType::Symlink => {
                self.link(name, header(&stat, EntryType::Symlink), &place.read_link()?)?;
            }
            FileType::Fifo => {
                self.tar
                    .append_data(&mut header(&stat, EntryType::Fifo), name, io::empty())?;
            }
            // Sockets mean nothing without their process, and devices are left out.
            _ => {}
        }
        Ok(false)
    }

    fn directory(&mut self, stat: &Stat, name: &Path) -> io::Result<()> {
        let mut path = name.as_os_str().to_owned();
        path.push(if path.is_empty() { "./" } else { "/" });
        self.tar
            .append_data(&mut header(stat, EntryType::Directory), path, io::empty())
    }

    fn file(&mut self, name: &Path, place: &Place, opened: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&key) {
                let first = first.clone().into_os_string();
                return self.link(name, header(stat, EntryType::Link), &first);
            }
            self.linked.insert(key, name.to_owned());
        }
        self.describe(place)?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let mut header = header(stat, EntryType::Regular);
        header.set_size(size);
        // What it grows by meanwhile is not in the archive.
        let mut content = readable(opened)?.take(size);
        self.tar.append_data(&mut header, name, &mut content)?;
        if content.limit() > 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        Ok(())
    }

    /// Adds a link with the very bytes of its target: the library leaves out slashes that are one too many.
    fn link(&mut self, name: &Path, mut header: Header, target: &OsStr) -> io::Result<()> {
        if header.set_link_name_literal(target.as_bytes()).is_err() {
            self.tar
                .append_pax_extensions([("linkpath", target.as_bytes())])?;
        }
        self.tar.append_data(&mut header, name, io::empty())
    }

    /// Writes the extended attributes that are kept, for the next entry. Whether the directory hides those below it.
    fn describe(&mut self, place: &Place) -> io::Result<bool> {
        let mut opaque = false;
        let mut kept = Vec::new();
        for name in place.xattr_names()? {
            let text = name.to_string_lossy().into_owned();
            if self.layer.is_some_and(|rights| name == rights.opaque_xattr()) {
                opaque = place.xattr(&name)?.as_deref() == Some(b"y");
            } else if self.layer.is_some() && is_redirect(&text) {
                return Err(io::Error::other(format!(
                    "it has {text}; overlays must be mounted with redirect_dir=off,metacopy=off"
                )));
            } else if text == "security.capability"
                || (text.starts_with("user.") && !text.starts_with("user.overlay."))
            {
                kept.extend(
                    place
                        .xattr(&name)?
                        .map(|value| (format!("SCHILY.xattr.{text}"), value)),
                );
            }
        }
        if !kept.is_empty() {
            let records = kept.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.tar.append_pax_extensions(records)?;
        }
        Ok(opaque)
    }

    fn whiteout(&mut self, name: &Path) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        self.tar.append_data(&mut header, name, io::empty())
    }
}

fn is_redirect(xattr: &str) -> bool {
    xattr == "trusted.overlay.redirect" || xattr == "trusted.overlay.metacopy"
}

fn named(path: &Path, error: io::Error) -> io::Error {
    let text = path.to_string_lossy().escape_debug().to_string();
    io::Error::new(error.kind(), format!("{text}: {error}"))
}

fn header(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(Mode::from_raw_mode(stat.st_mode).as_raw_mode() & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_size(0);
    header
}

/// Opens for reading what a descriptor of `O_PATH` has, and nothing else, whatever is at its name by now.
fn readable(opened: &OwnedFd) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(by_descriptor(opened), flags, Mode::empty())?.into())
}

/// The types of file systems that the kernel makes up: proc, sysfs, cgroup and cgroup2, devpts, mqueue.
const KERNELS: [u64; 6] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x1cd1, 0x1980_0202];

fn is_kernels(opened: impl AsFd) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(opened)?.f_type;
    Ok(KERNELS.contains(&u64::try_from(kind).unwrap_or_default()))
}

/// Refuses what is in a file system of the kernel: nothing can be copied into or out of it.
///
/// # Errors
///
/// `Unsupported`; those of the file system.
pub fn refuse_kernels(opened: impl AsFd) -> io::Result<()> {
    if is_kernels(opened)? {
        let message = "it is in a file system of the kernel's; use exec in the running container";
        return Err(io::Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}
