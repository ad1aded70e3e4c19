//! A file or directory of this host as a tar stream.

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use driver_types::{ByteStream, DriverError};
use tar::{Builder, EntryType, Header};
use tokio::io::AsyncWriteExt;
use tokio_util::io::SyncIoBridge;

use crate::commands::image::byte_stream;

/// Bytes between the reader of files and the driver.
const BUFFER: usize = 256 * 1024;

/// Packs a file or directory under the name `name`; an empty name packs what is in a directory. Entries belong to
/// root, as with `docker cp`; symbolic links stay links; sockets and devices are refused.
///
/// An error while files are read ends the stream with that error, so that nothing half-read is taken for whole.
pub(crate) fn pack(source: PathBuf, name: String) -> ByteStream {
    let (mut near, far) = tokio::io::duplex(BUFFER);
    let (failed, failure) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let result = {
            let bridge = SyncIoBridge::new_with_handle(&mut near, runtime.clone());
            write_archive(bridge, &source, Path::new(&name))
        };
        match result {
            Ok(()) => drop(runtime.block_on(near.shutdown())),
            // The driver may have given up already: then nobody listens.
            Err(error) => drop(failed.send(error)),
        }
    });
    let bytes = byte_stream(far);
    Box::pin(with_failure(bytes, failure))
}

/// The stream, and at its end the error that cut it short.
fn with_failure(
    bytes: ByteStream,
    failure: tokio::sync::oneshot::Receiver<io::Error>,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, DriverError>> + Send {
    use futures_util::StreamExt;
    let end = futures_util::stream::once(failure).filter_map(async |failure| {
        let error = failure.ok()?;
        Some(Err(DriverError::file_system(error.to_string())))
    });
    bytes.chain(end)
}

fn write_archive(out: impl Write, source: &Path, name: &Path) -> io::Result<()> {
    let mut archive = Builder::new(out);
    append(&mut archive, source, name)?;
    archive.into_inner()?.flush()
}

fn append(archive: &mut Builder<impl Write>, source: &Path, name: &Path) -> io::Result<()> {
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot read {}: {error}", source.display()));
    let metadata = fs::symlink_metadata(source).map_err(about)?;
    let kind = metadata.file_type();
    let mut header = header(&metadata);
    if kind.is_dir() {
        if !name.as_os_str().is_empty() {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, name, io::empty())?;
        }
        let mut children = fs::read_dir(source)
            .map_err(about)?
            .collect::<io::Result<Vec<_>>>()
            .map_err(about)?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            append(archive, &child.path(), &name.join(child.file_name()))?;
        }
        Ok(())
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        archive.append_link(&mut header, name, fs::read_link(source).map_err(about)?)
    } else if kind.is_file() {
        let file = fs::File::open(source).map_err(about)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(metadata.len());
        // Exactly as long as the header says, even if the file grows meanwhile.
        archive.append_data(&mut header, name, io::Read::take(file, metadata.len()))
    } else {
        let message = format!(
            "{} is neither a file, a directory nor a link; leave it out",
            source.display()
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::TryStreamExt;

    use super::*;

    async fn names(source: PathBuf, name: &str) -> Result<Vec<String>, DriverError> {
        let bytes = pack(source, name.to_owned())
            .try_collect::<Vec<_>>()
            .await?
            .concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(
                (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
                (0, 0)
            );
            entry.path().unwrap().display().to_string()
        });
        Ok(entries.collect())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn directories_are_packed_under_a_name_or_without() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), b"x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert_eq!(
            names(dir.path().into(), "d").await.unwrap(),
            ["d", "d/link", "d/sub", "d/sub/file"]
        );
        assert_eq!(
            names(dir.path().into(), "").await.unwrap(),
            ["link", "sub", "sub/file"]
        );
        assert_eq!(
            names(dir.path().join("sub/file"), "other").await.unwrap(),
            ["other"]
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_read_is_an_error_and_not_a_short_archive() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), b"x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("b")).unwrap();
        let error = names(dir.path().into(), "d").await.unwrap_err();
        assert!(error.to_string().contains("neither a file"), "{error}");
    }
}
