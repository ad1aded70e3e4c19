//! A container's writable layer as an image: the upper directory of an overlay is packed as an OCI layer, and what is packed
//! is unpacked as any other. So a snapshot has the digest of a layer that could be pushed, and is held to the same limits.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use driver_types::{DriverError, Image, Labels, Result};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::config::{ImageConfig, hex_digest};
use super::layers::{self, Made};
use super::store::{ImageStore, new_reference};
use super::unpack::opaque_xattr;
use crate::rootfs::{Place, Root};
use crate::spec::ImageSpec;

impl ImageStore {
    /// Makes an image of a container: the layers of its image, and its writable layer, where it has one. The defaults are
    /// those of its image, with these labels on top. Nobody may write to `upper` meanwhile.
    ///
    /// # Errors
    ///
    /// A configuration error for a reference that no new image can have, and for a container of the image `host`; a file
    /// system error where the layer has more than the limits allow.
    pub(crate) fn snapshot(
        &self,
        base: &ImageSpec,
        upper: Option<&Path>,
        reference: &str,
        labels: &Labels,
    ) -> Result<Image> {
        let reference = new_reference(reference)?;
        let Some(id) = &base.id else {
            let message = "a container of the image `host` cannot be made an image: what it is made of is the host's; \
                           use an image that was imported or pulled";
            return Err(DriverError::configuration(message));
        };
        let mut spec = base.clone();
        spec.labels.extend(labels.clone());
        let made: Vec<Made> = match upper {
            Some(upper) => vec![self.layer_of(upper)?],
            None => Vec::new(),
        };
        let lower = self.config_of(id)?;
        let mut digests = lower.digests()?;
        digests.extend(made.iter().map(|layer| layer.digest.as_str()));
        let config = ImageConfig::new(&spec, &digests);
        self.add(&[reference], &config.json()?, &made)
    }

    fn config_of(&self, id: &str) -> Result<ImageConfig> {
        hex_digest(id)?;
        self.config(id)?.ok_or_else(|| DriverError::image_not_found(id))
    }

    fn layer_of(&self, upper: &Path) -> Result<Made> {
        let failed = |error: io::Error| {
            DriverError::file_system(format!("the writable layer cannot be read: {error}")).with_source(error)
        };
        let root = Root::open(upper).map_err(failed)?;
        let (reader, writer) = io::pipe().map_err(failed)?;
        thread::scope(|scope| {
            let packer = scope.spawn(|| pack(&root, writer));
            let made = layers::make(self, reader, &self.limits);
            let packed = packer
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the packer panicked")));
            match (made, packed) {
                // The packer ends with a broken pipe when the other end has failed.
                (Err(error), Err(packed)) if packed.kind() == io::ErrorKind::BrokenPipe => Err(error),
                (_, Err(packed)) => Err(failed(packed)),
                (made, Ok(())) => made,
            }
        })
    }
}

struct Packer<'a> {
    root: &'a Root,
    tar: Builder<io::BufWriter<PipeWriter>>,
    is_root: bool,
    /// The first name of each file with several.
    linked: HashMap<(u64, u64), PathBuf>,
}

/// Writes the upper directory of an overlay as a tar with whiteouts of the OCI.
fn pack(root: &Root, writer: PipeWriter) -> io::Result<()> {
    let mut packer = Packer {
        root,
        tar: Builder::new(io::BufWriter::with_capacity(1 << 16, writer)),
        is_root: rustix::process::geteuid().is_root(),
        linked: HashMap::new(),
    };
    // The root of the merged tree is that of the topmost layer.
    let stat = rustix::fs::fstat(root)?;
    packer
        .tar
        .append_data(&mut header(&stat, EntryType::Directory), "./", io::empty())?;
    // Without recursion: the tree is a stranger's.
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let mut names =
            crate::rootfs::names_in(root.open_in(&directory, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
        names.sort();
        for name in names {
            let path = directory.join(&name);
            if packer.add(&path).map_err(|error| named(&path, error))? {
                directories.push(path);
            }
        }
    }
    packer.tar.into_inner()?.flush()
}

fn named(path: &Path, error: io::Error) -> io::Error {
    let text = path.to_string_lossy().escape_debug().to_string();
    io::Error::new(error.kind(), format!("{text}: {error}"))
}

impl Packer<'_> {
    /// Adds one entry; whether it is a directory to go into.
    fn add(&mut self, path: &Path) -> io::Result<bool> {
        let place = self.root.place(path)?;
        let Some(stat) = place.stat()? else {
            return Ok(false);
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let opaque = self.describe(&place)?;
                self.tar
                    .append_data(&mut header(&stat, EntryType::Directory), path, io::empty())?;
                if opaque {
                    self.whiteout(&path.join(".wh..wh..opq"))?;
                }
                return Ok(true);
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                let mut name = b".wh.".to_vec();
                name.extend_from_slice(place.name.as_bytes());
                self.whiteout(&path.with_file_name(OsStr::from_bytes(&name)))?;
            }
            FileType::RegularFile => self.file(path, &place, &stat)?,
            FileType::Symlink => {
                self.link(path, header(&stat, EntryType::Symlink), &place.read_link()?)?;
            }
            FileType::Fifo => {
                self.tar
                    .append_data(&mut header(&stat, EntryType::Fifo), path, io::empty())?;
            }
            // Sockets mean nothing without their process, and devices are left out of layers.
            _ => {}
        }
        Ok(false)
    }

    fn file(&mut self, path: &Path, place: &Place, stat: &Stat) -> io::Result<()> {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&key) {
                let first = first.clone().into_os_string();
                return self.link(path, header(stat, EntryType::Link), &first);
            }
            self.linked.insert(key, path.to_owned());
        }
        self.describe(place)?;
        // It may be swapped for a FIFO by who was told not to.
        let file = File::from(place.open(OFlags::RDONLY | OFlags::NONBLOCK)?);
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let mut header = header(stat, EntryType::Regular);
        header.set_size(size);
        let mut content = file.take(size);
        self.tar.append_data(&mut header, path, &mut content)?;
        if content.limit() > 0 {
            return Err(io::Error::other("it became shorter meanwhile"));
        }
        Ok(())
    }

    /// Adds a link with the very bytes of its target: the library leaves out slashes that are one too many.
    fn link(&mut self, path: &Path, mut header: Header, target: &OsStr) -> io::Result<()> {
        if header.set_link_name_literal(target.as_bytes()).is_err() {
            self.tar
                .append_pax_extensions([("linkpath", target.as_bytes())])?;
        }
        self.tar.append_data(&mut header, path, io::empty())
    }

    /// Writes the extended attributes that a layer keeps, for the next entry. Whether the directory hides those below it.
    fn describe(&mut self, place: &Place) -> io::Result<bool> {
        let mut opaque = false;
        let mut kept = Vec::new();
        for name in place.xattr_names()? {
            let text = name.to_string_lossy().into_owned();
            if name == opaque_xattr(self.is_root) {
                opaque = place.xattr(&name)?.as_deref() == Some(b"y");
            } else if text == "trusted.overlay.redirect" || text == "trusted.overlay.metacopy" {
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

    fn whiteout(&mut self, path: &Path) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        self.tar.append_data(&mut header, path, io::empty())
    }
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
