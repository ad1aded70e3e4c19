//! Names in a tar that is not trusted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::error::{Error, Result};

/// A path has less than this many bytes: what the kernel takes.
const MAX_PATH: usize = 4096;

pub(super) fn refused(why: impl std::fmt::Display) -> Error {
    Error::Archive(format!("the archive is refused: {why}"))
}

pub(super) fn shown(path: &OsStr) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// A name as a path without `.`, `..` and slashes at its ends. `..` does not lead out of where the path begins, or is
/// refused.
pub(super) fn relative(name: &OsStr, depth: usize, with_dot_dot: bool) -> Result<PathBuf> {
    if name.len() >= MAX_PATH {
        let why = format!("the path {:.80}... has more than {MAX_PATH} bytes", shown(name));
        return Err(refused(why));
    }
    if name.as_bytes().contains(&0) {
        return Err(refused(format!("the path {} has a NUL byte", shown(name))));
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::ParentDir if with_dot_dot => drop(path.pop()),
            Component::ParentDir => {
                let why = format!("the path {} leads out of its directory", shown(name));
                return Err(refused(why));
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if path.components().count() > depth {
        let why = format!("the path {:.80}... is deeper than {depth}", shown(name));
        return Err(refused(why));
    }
    Ok(path)
}
