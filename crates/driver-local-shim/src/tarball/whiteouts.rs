//! What a layer hides of those below it: whiteouts of the OCI become those of the overlay file system.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, XattrFlags};

use super::rights::Rights;
use crate::rootfs::{Root, by_descriptor};

/// The name that an entry of this name hides, or another order of that kind; `None`: it is a file as any other.
pub(super) fn order(name: &OsStr) -> Option<&OsStr> {
    name.as_bytes().strip_prefix(b".wh.").map(OsStr::from_bytes)
}

/// The whiteouts of a layer: made at its end, as they are about those below and not about what this one has.
#[derive(Debug)]
pub(super) struct Whiteouts {
    hidden: BTreeSet<PathBuf>,
    rights: Rights,
}

impl Whiteouts {
    pub(super) fn new(rights: Rights) -> Self {
        Self {
            hidden: BTreeSet::new(),
            rights,
        }
    }

    /// `.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` all that they have in its directory. Other names that
    /// begin with two of these prefixes are notes of an old engine to itself.
    pub(super) fn add(&mut self, root: &Root, directory: &Path, order: &OsStr) -> io::Result<()> {
        if order == ".wh..opq" {
            return make_opaque(root, directory, self.rights);
        }
        if !order.is_empty() && order != "." && order != ".." && !order.as_bytes().starts_with(b".wh.") {
            self.hidden.insert(directory.join(order));
        }
        Ok(())
    }

    /// Makes them. Of an error it tells the path.
    pub(super) fn make(&self, root: &Root) -> Result<(), (PathBuf, io::Error)> {
        let hide = |path: &PathBuf| hide(root, path, self.rights).map_err(|error| (path.clone(), error));
        self.hidden.iter().try_for_each(hide)
    }
}

/// Hides a name of the layers below. What this layer has of this name stays; if it is a directory, it does not show
/// what they have in theirs.
fn hide(root: &Root, path: &Path, rights: Rights) -> io::Result<()> {
    root.mkdir_all(path.parent().unwrap_or(Path::new("")), Mode::from_raw_mode(0o755))?;
    let place = root.place(path)?;
    match place.file_type()? {
        Some(FileType::Directory) => make_opaque(root, path, rights),
        Some(_) => Ok(()),
        None => place.mknod(FileType::CharacterDevice, Mode::empty(), 0),
    }
}

fn make_opaque(root: &Root, directory: &Path, rights: Rights) -> io::Result<()> {
    let directory = root.mkdir_all(directory, Mode::from_raw_mode(0o755))?;
    Ok(rustix::fs::setxattr(
        by_descriptor(&directory),
        rights.opaque_xattr(),
        b"y",
        XattrFlags::empty(),
    )?)
}
