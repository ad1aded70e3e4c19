//! A tar stream into a file or directory of this host. The stream comes from a workload and is not trusted.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use driver_types::{ByteStream, DriverError};
use futures_util::TryStreamExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Unpacks a stream whose entries all lie below one name, and moves what has that name to `target`.
///
/// A directory is merged into a directory that is there; a file replaces a file. Everything is first unpacked into a
/// new directory beside the target, so nothing in the stream can reach outside, whatever links it has, and a broken
/// stream leaves the target as it was.
pub(crate) async fn unpack(bytes: ByteStream, target: PathBuf) -> Result<(), DriverError> {
    let reader = StreamReader::new(bytes.map_err(io::Error::other));
    let bridge = SyncIoBridge::new(Box::pin(reader));
    let work = tokio::task::spawn_blocking(move || unpack_blocking(bridge, &target));
    match work.await {
        Ok(result) => result.map_err(|error| DriverError::file_system(error.to_string())),
        Err(error) => Err(DriverError::internal(format!("unpacking failed: {error}"))),
    }
}

fn unpack_blocking(archive: impl Read, target: &Path) -> io::Result<()> {
    let about = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot write {}: {error}", target.display()),
        )
    };
    let parent = match target.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    // Beside the target, so that moving is a rename; removed when this ends, with whatever is left in it.
    let staging = tempfile::Builder::new()
        .prefix(".driver-cp-")
        .tempdir_in(parent)
        .map_err(about)?;
    tar::Archive::new(archive).unpack(staging.path()).map_err(about)?;
    let mut entries = fs::read_dir(staging.path())?.collect::<io::Result<Vec<_>>>()?;
    match (entries.pop(), entries.pop()) {
        (Some(only), None) => merge(&only.path(), target).map_err(about),
        (None, _) => Err(about(io::Error::other("the archive is empty"))),
        (Some(_), Some(_)) => Err(about(io::Error::other("the archive has more than one root"))),
    }
}

/// Moves `source` to `target`, directory into directory.
fn merge(source: &Path, target: &Path) -> io::Result<()> {
    let kind = |path: &Path| fs::symlink_metadata(path).map(|metadata| metadata.file_type());
    let both = (kind(source)?.is_dir(), kind(target));
    match both {
        (true, Ok(there)) if there.is_dir() => {
            for child in fs::read_dir(source)? {
                let child = child?;
                merge(&child.path(), &target.join(child.file_name()))?;
            }
            Ok(())
        }
        (true, Ok(_)) => Err(io::Error::other(format!(
            "{} is there and is no directory",
            target.display()
        ))),
        (false, Ok(there)) if there.is_dir() => Err(io::Error::other(format!(
            "{} is there and is a directory",
            target.display()
        ))),
        _ => fs::rename(source, target),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tar::{Builder, EntryType, Header};

    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_mode(if *kind == EntryType::Directory {
                0o755
            } else {
                0o644
            });
            header.set_entry_type(*kind);
            // Not `set_path`: it refuses what a hostile archive may have.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Symlink {
                header.set_size(0);
                header.set_link_name(content).unwrap();
                header.set_cksum();
                archive.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                archive.append(&header, content.as_bytes()).unwrap();
            }
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn a_file_gets_the_name_of_the_target() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new");
        unpack_blocking(archive(&[("old", EntryType::Regular, "x")]).as_slice(), &target).unwrap();
        assert_eq!(fs::read_to_string(target).unwrap(), "x");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_directory_is_merged_into_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/kept"), "1").unwrap();
        fs::write(dir.path().join("d/replaced"), "1").unwrap();
        let bytes = archive(&[
            ("src/", EntryType::Directory, ""),
            ("src/replaced", EntryType::Regular, "2"),
            ("src/new", EntryType::Regular, "2"),
        ]);
        unpack_blocking(bytes.as_slice(), &dir.path().join("d")).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join("d").join(name)).unwrap();
        assert_eq!([read("kept"), read("replaced"), read("new")], ["1", "2", "2"]);
    }

    #[test]
    fn a_hostile_archive_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let target = dir.path().join("in/target");
        fs::create_dir(dir.path().join("in")).unwrap();
        let through_link = archive(&[
            ("d/", EntryType::Directory, ""),
            ("d/link", EntryType::Symlink, outside.to_str().unwrap()),
            ("d/link/file", EntryType::Regular, "x"),
        ]);
        drop(unpack_blocking(through_link.as_slice(), &target));
        let upwards = archive(&[("../outside/file", EntryType::Regular, "x")]);
        drop(unpack_blocking(upwards.as_slice(), &target));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn a_broken_archive_leaves_the_target_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        fs::write(&target, "old").unwrap();
        let mut bytes = archive(&[("file", EntryType::Regular, &"x".repeat(4096))]);
        bytes.truncate(1024);
        assert!(unpack_blocking(bytes.as_slice(), &target).is_err());
        assert_eq!(fs::read_to_string(target).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
