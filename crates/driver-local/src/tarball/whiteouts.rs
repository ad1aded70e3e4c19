//! What a layer hides of those below it: whiteouts of the OCI become those of the overlay file system.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, XattrFlags};

use crate::rootfs::{Root, by_descriptor};

/// The attributes by which an overlay knows directories that hide those below them; which of them, the options of the
/// mount say.
pub(crate) fn opaque_xattr(root: bool) -> &'static OsStr {
    OsStr::new(if root {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    })
}

/// The name that an entry of this name hides, or another order of that kind; `None`: it is a file as any other.
pub(super) fn order(name: &OsStr) -> Option<&OsStr> {
    name.as_bytes().strip_prefix(b".wh.").map(OsStr::from_bytes)
}

/// The whiteouts of a layer: made at its end, as they are about those below and not about what this one has.
#[derive(Debug, Default)]
pub(super) struct Whiteouts(BTreeSet<PathBuf>);

impl Whiteouts {
    /// `.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` all that they have in its directory. Other names that
    /// begin with two of these prefixes are notes of an old engine to itself.
    pub(super) fn add(&mut self, root: &Root, directory: &Path, order: &OsStr) -> io::Result<()> {
        if order == ".wh..opq" {
            return make_opaque(root, directory);
        }
        if !order.is_empty() && order != "." && order != ".." && !order.as_bytes().starts_with(b".wh.") {
            self.0.insert(directory.join(order));
        }
        Ok(())
    }

    /// Makes them. Of an error it tells the path.
    pub(super) fn make(&self, root: &Root) -> Result<(), (PathBuf, io::Error)> {
        self.0
            .iter()
            .try_for_each(|path| hide(root, path).map_err(|error| (path.clone(), error)))
    }
}

/// Hides a name of the layers below. What this layer has of this name stays; if it is a directory, it does not show
/// what they have in theirs.
fn hide(root: &Root, path: &Path) -> io::Result<()> {
    root.mkdir_all(path.parent().unwrap_or(Path::new("")), Mode::from_raw_mode(0o755))?;
    let place = root.place(path)?;
    match place.file_type()? {
        Some(FileType::Directory) => make_opaque(root, path),
        Some(_) => Ok(()),
        None => place.mknod(FileType::CharacterDevice, Mode::empty(), 0),
    }
}

fn make_opaque(root: &Root, directory: &Path) -> io::Result<()> {
    let directory = root.mkdir_all(directory, Mode::from_raw_mode(0o755))?;
    let name = opaque_xattr(rustix::process::geteuid().is_root());
    Ok(rustix::fs::setxattr(
        by_descriptor(&directory),
        name,
        b"y",
        XattrFlags::empty(),
    )?)
}
