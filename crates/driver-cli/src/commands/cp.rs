//! `cp`: files from and to a container, with the rules of `docker cp`.

use std::path::{Path, PathBuf};

use clap::Args;
use driver_types::{ByteStream, ContainerDriver, DriverError};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::image::byte_stream;
use crate::failure::{Failure, Outcome};
use crate::signals::Signals;
use crate::{App, archive, resolve};

/// Arguments of `cp`.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// CONTAINER:PATH, a path of this host, or `-` for a tar stream on stdin; `PATH/.` is what a directory has in it
    #[arg(allow_hyphen_values = true)]
    source: String,
    /// CONTAINER:PATH, a path of this host, or `-` for a tar stream on stdout
    #[arg(allow_hyphen_values = true)]
    target: String,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A path of a container.
    Container(String, String),
    /// A path of this host.
    Host(PathBuf),
    /// A tar stream on stdin or stdout.
    Stream,
}

impl Place {
    /// Text with a `:` after a first part without `/` means a container; `./a:b` is a path of this host.
    fn read(text: &str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Stream,
            Some((container, path))
                if !container.is_empty() && !container.contains('/') && !container.starts_with('.') =>
            {
                let path = if path.starts_with('/') {
                    path.to_owned()
                } else {
                    format!("/{path}")
                };
                Self::Container(container.to_owned(), path)
            }
            _ => Self::Host(text.into()),
        }
    }
}

/// Copies.
pub(crate) async fn run(app: &App, args: &CpArgs) -> Outcome {
    match (Place::read(&args.source), Place::read(&args.target)) {
        (Place::Container(container, path), Place::Host(target)) => {
            to_host(&*app.driver, &container, &path, &target).await
        }
        (source, target) => {
            super::interruptible(app, without_host_target(&*app.driver, source, target)).await
        }
    }
}

async fn without_host_target(driver: &dyn ContainerDriver, source: Place, target: Place) -> Outcome {
    match (source, target) {
        (Place::Container(container, path), Place::Stream) => {
            let id = resolve::container(driver, &container).await?.id;
            to_stdout(driver.copy_from(&id, clean(&path)).await?).await?;
        }
        (Place::Stream, Place::Container(container, path)) => {
            let id = resolve::container(driver, &container).await?.id;
            driver
                .copy_into(&id, clean(&path), byte_stream(tokio::io::stdin()))
                .await?;
        }
        (Place::Host(source), Place::Container(container, path)) => {
            let id = resolve::container(driver, &container).await?.id;
            into_container(driver, &id, &source, &path).await?;
        }
        (Place::Container(..), Place::Container(..)) => {
            return Err(Failure::usage(
                "cp copies between a container and this host; for two containers: driver cp A:PATH - | driver cp - B:PATH",
            ));
        }
        _ => {
            return Err(Failure::usage(
                "one side has to be a container, written CONTAINER:PATH",
            ));
        }
    }
    Ok(0)
}

/// A signal ends the stream early: unpacking then fails, and removes what it has begun.
async fn to_host(driver: &dyn ContainerDriver, container: &str, path: &str, target: &Path) -> Outcome {
    let mut signals = Signals::catch()?;
    let id = resolve::container(driver, container).await?.id;
    let target = host_target(target, path)?;
    let bytes = driver.copy_from(&id, clean(path)).await?;
    let (interrupt, mut interrupted) = oneshot::channel();
    let bytes = bytes.take_until(async move {
        let signal = signals.next_end().await;
        // Nobody asks any more when the copy has ended.
        let _ = interrupt.send(signal);
    });
    let unpacked = archive::unpack(Box::pin(bytes), target).await;
    match (interrupted.try_recv(), unpacked) {
        (Ok(signal), Err(_)) => Ok(signal.exit_code() as u8),
        (_, unpacked) => Ok(unpacked.map(|()| 0)?),
    }
}

/// A path of a container without `/` or `/.` at its end; the root stays.
fn clean(path: &str) -> &str {
    let path = path.strip_suffix("/.").unwrap_or(path).trim_end_matches('/');
    if path.is_empty() { "/" } else { path }
}

/// Whether a path means what is in a directory.
fn means_content(path: &str) -> bool {
    path.ends_with("/.") || path == "."
}

async fn to_stdout(mut bytes: ByteStream) -> Result<(), Failure> {
    let mut stdout = tokio::io::stdout();
    while let Some(piece) = bytes.next().await {
        stdout.write_all(&piece?).await?;
    }
    Ok(stdout.flush().await?)
}

/// Where a file or directory of a container goes: into a directory that is there, else it gets the target's name.
fn host_target(target: &Path, path: &str) -> Result<PathBuf, Failure> {
    if !target.is_dir() {
        if target.as_os_str().to_string_lossy().ends_with('/') {
            return Err(
                DriverError::file_system(format!("there is no directory {}", target.display())).into(),
            );
        }
        return Ok(target.to_owned());
    }
    let name = clean(path).rsplit('/').next().unwrap_or_default();
    if means_content(path) || name.is_empty() {
        // Canonical, so that the target has a name and a parent; `.` has neither.
        return Ok(target.canonicalize()?);
    }
    Ok(target.join(name))
}

async fn into_container(
    driver: &dyn ContainerDriver,
    id: &str,
    source: &Path,
    path: &str,
) -> Result<(), Failure> {
    let text = source.as_os_str().to_string_lossy();
    let metadata = std::fs::metadata(source)
        .map_err(|error| DriverError::file_system(format!("cannot read {}: {error}", source.display())))?;
    // The link itself is copied, unless the path says what it leads to.
    let source_path = if text.ends_with('/') || means_content(&text) {
        source.canonicalize()?
    } else {
        source.to_owned()
    };
    let whole = source_path.canonicalize()?;
    let name = source_path
        .file_name()
        .or(whole.file_name())
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();

    if kind(driver, id, clean(path)).await? == Kind::Directory {
        let name = if metadata.is_dir() && means_content(&text) {
            String::new()
        } else {
            name
        };
        driver
            .copy_into(id, clean(path), archive::pack(source_path, name))
            .await?;
        return Ok(());
    }
    if path.ends_with('/') && !metadata.is_dir() {
        return Err(
            DriverError::file_system(format!("there is no directory {path} in the container")).into(),
        );
    }
    let (parent, name) = clean(path).rsplit_once('/').unwrap_or(("", ""));
    let parent = if parent.is_empty() { "/" } else { parent };
    driver
        .copy_into(id, parent, archive::pack(source_path, name.to_owned()))
        .await?;
    Ok(())
}

/// Bytes of a header in a tar stream.
const TAR_BLOCK: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Other,
}

/// What a path of a container is, by the first entry of its archive. A link counts as what it leads to: only
/// directories are copied through.
async fn kind(driver: &dyn ContainerDriver, id: &str, path: &str) -> Result<Kind, DriverError> {
    if path == "/" {
        return Ok(Kind::Directory);
    }
    let mut archive = match driver.copy_from(id, path).await {
        Ok(archive) => archive,
        Err(error) if error.code() == "FILE_SYSTEM_ERROR" => return Ok(Kind::Other),
        Err(error) => return Err(error),
    };
    let mut head = Vec::new();
    while head.len() < TAR_BLOCK {
        match archive.next().await {
            Some(piece) => head.extend_from_slice(&piece?),
            None => return Ok(Kind::Other),
        }
    }
    let header = tar::Header::from_byte_slice(&head[..TAR_BLOCK]);
    let kind = header.entry_type();
    Ok(if kind.is_dir() || kind.is_symlink() {
        Kind::Directory
    } else {
        Kind::Other
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("web:/a/b", Place::Container("web".into(), "/a/b".into()))]
    #[case("web:a", Place::Container("web".into(), "/a".into()))]
    #[case("web:", Place::Container("web".into(), "/".into()))]
    #[case("./web:a", Place::Host("./web:a".into()))]
    #[case("/x/y:z", Place::Host("/x/y:z".into()))]
    #[case("file", Place::Host("file".into()))]
    #[case("-", Place::Stream)]
    fn places(#[case] text: &str, #[case] expected: Place) {
        assert_eq!(Place::read(text), expected);
    }

    #[rstest]
    #[case("/a/", "/a")]
    #[case("/a/.", "/a")]
    #[case("/", "/")]
    #[case("/.", "/")]
    #[case("/a.", "/a.")]
    fn paths_are_cleaned(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(clean(path), expected);
    }

    #[test]
    fn targets_follow_the_rules_of_docker() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(host_target(dir.path(), "/etc/passwd").unwrap(), at("passwd"));
        assert_eq!(host_target(&at("copy"), "/etc/passwd").unwrap(), at("copy"));
        assert_eq!(
            host_target(dir.path(), "/etc/.").unwrap(),
            dir.path().canonicalize().unwrap()
        );
        assert!(host_target(&at("missing/"), "/etc/passwd").is_err());
    }
}
