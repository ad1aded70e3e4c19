//! A tar of a caller into a directory below a root. Symbolic links are followed in the root, as a process in the container
//! would; `..` in the archive is refused, as Docker refuses it.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, Timespec, Timestamps};
use tar::{Archive, Entry, EntryType};

use crate::rootfs::{Place, Root};

/// Unpacks an archive under the directory `target`, which must exist.
pub(super) fn unpack(root: &Root, target: &Path, source: impl Read) -> io::Result<()> {
    root.dir(target)?;
    let mut archive = Archive::new(source);
    // The times of directories come last: what is made in them changes them.
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = relative(&entry.path_bytes())?;
        if name.as_os_str().is_empty() {
            continue;
        }
        let path = target.join(&name);
        if let Some(parent) = path.parent() {
            root.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
        }
        let place = root.place(&path)?;
        place_entry(root, target, &mut entry, &place)?;
        if entry.header().entry_type() == EntryType::Directory {
            directories.push((place, mtime(&entry)));
        }
    }
    directories
        .iter()
        .rev()
        .try_for_each(|(place, times)| place.set_times(times))
}

/// The path of an entry below the target.
fn relative(path: &[u8]) -> io::Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    let mut relative = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let message = format!(
                    "the archive has the entry {}, which leads out of its directory",
                    path.display()
                );
                return Err(io::Error::new(ErrorKind::InvalidInput, message));
            }
        }
    }
    Ok(relative)
}

fn place_entry(
    root: &Root,
    target: &Path,
    entry: &mut Entry<'_, impl Read>,
    place: &Place,
) -> io::Result<()> {
    let kind = entry.header().entry_type();
    let is_directory = place.file_type()? == Some(FileType::Directory);
    if kind == EntryType::Directory {
        if !is_directory {
            place.remove_all()?;
            place.mkdir(Mode::from_raw_mode(0o755))?;
        }
        return own(entry, place);
    }
    if is_directory {
        let message = format!(
            "{} is a directory, and the archive has something else of that name",
            place.name.display()
        );
        return Err(io::Error::new(ErrorKind::IsADirectory, message));
    }
    match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            place.remove_all()?;
            let mut file = place.create(Mode::from_raw_mode(0o600))?;
            io::copy(entry, &mut file)?;
        }
        EntryType::Symlink => {
            let link = entry
                .link_name_bytes()
                .ok_or_else(|| broken("a link without a target"))?;
            place.remove_all()?;
            place.symlink(OsStr::from_bytes(&link))?;
        }
        EntryType::Link => {
            let link = entry
                .link_name_bytes()
                .ok_or_else(|| broken("a link without a target"))?;
            let existing = root.place(&target.join(relative(&link)?))?;
            place.remove_all()?;
            return place.link(&existing);
        }
        EntryType::Fifo => {
            place.remove_all()?;
            place.mknod(FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        }
        EntryType::Char | EntryType::Block => {
            return Err(broken("a device, which is no business of a copy"));
        }
        // Extensions of the format that say nothing about files.
        _ => return Ok(()),
    }
    own(entry, place)
}

/// Owner, permissions and time, in the order in which the kernel leaves them.
fn own(entry: &Entry<'_, impl Read>, place: &Place) -> io::Result<()> {
    let header = entry.header();
    let id = |id: io::Result<u64>| u32::try_from(id?).map_err(|_| broken("an id that is no id"));
    place.chown(id(header.uid())?, id(header.gid())?)?;
    if header.entry_type() != EntryType::Symlink {
        place.chmod(Mode::from_raw_mode(header.mode()? & 0o7777))?;
    }
    place.set_times(&mtime(entry))
}

fn mtime(entry: &Entry<'_, impl Read>) -> Timestamps {
    let seconds = entry
        .header()
        .mtime()
        .ok()
        .and_then(|seconds| i64::try_from(seconds).ok());
    let time = Timespec {
        tv_sec: seconds.unwrap_or_default(),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the archive has {what}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"a/b", Some("a/b"))]
    #[case(b"/a/./b/", Some("a/b"))]
    #[case(b"./", Some(""))]
    #[case(b"../a", None)]
    #[case(b"a/../../b", None)]
    fn names(#[case] name: &[u8], #[case] expected: Option<&str>) {
        assert_eq!(relative(name).ok(), expected.map(PathBuf::from));
    }
}
