//! Conveniences over any driver.

use std::io::Read;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::{
    ByteStream, ContainerConfig, ContainerDriver, ContainerInstance, DriverError, ExitInfo, Image,
    PullProgress, PullRequest, RemoveOptions, Result, WaitCondition,
};

/// What every driver has for free. Do not implement it: a blanket implementation does.
#[async_trait]
pub trait ContainerDriverExt: ContainerDriver {
    /// Creates and starts a container. When the start fails the container is removed; an error of that removal is
    /// kept in [`DriverError::cleanup`].
    async fn run_container(&self, config: &ContainerConfig) -> Result<ContainerInstance> {
        let container = self.create_container(config).await?;
        if let Err(error) = self.start_container(&container.id).await {
            return Err(match self.force_remove(&container.id).await {
                Ok(()) => error,
                Err(cleanup) => error.with_cleanup(cleanup),
            });
        }
        self.require_container(&container.id).await
    }

    /// Waits for the end of a run.
    async fn wait_exit(&self, id: &str) -> Result<ExitInfo> {
        self.wait_container(id, WaitCondition::Exited).await
    }

    /// Removes a container whatever its status; one that does not exist is fine.
    async fn force_remove(&self, id: &str) -> Result<()> {
        self.remove_container(
            id,
            &RemoveOptions {
                force: true,
                volumes: true,
                ignore_missing: true,
            },
        )
        .await
    }

    /// Like `get_container`, with an error where there is none.
    async fn require_container(&self, id: &str) -> Result<ContainerInstance> {
        self.get_container(id)
            .await?
            .ok_or_else(|| DriverError::container_not_found(id))
    }

    /// Pulls an image and waits for it, throwing the progress away.
    async fn pull_image_wait(&self, request: &PullRequest) -> Result<Image> {
        let progress: Vec<PullProgress> = self.pull_image(request).await?.try_collect().await?;
        let image = progress.into_iter().filter_map(|item| item.image).next_back();
        image.ok_or_else(|| DriverError::internal("the pull ended without an image"))
    }

    /// Reads a regular file of a container, whatever its bytes. `path` is absolute.
    ///
    /// # Errors
    ///
    /// Those of `copy_from`; a directory or a special file is `FILE_SYSTEM_ERROR`.
    async fn read_file(&self, id: &str, path: &str) -> Result<Bytes> {
        let archive: Vec<Bytes> = self.copy_from(id, path).await?.try_collect().await?;
        let archive = archive.concat();
        let mut archive = tar::Archive::new(archive.as_slice());
        let broken = |error: std::io::Error| DriverError::file_system(format!("cannot read {path}: {error}"));
        let mut entries = archive.entries().map_err(broken)?;
        let mut entry = entries
            .next()
            .ok_or_else(|| DriverError::file_system(format!("cannot read {path}: the archive is empty")))?
            .map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            return Err(DriverError::file_system(format!("{path} is not a regular file")));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        // The reader of the archive takes an archive that is cut off for the end of the file.
        if content.len() as u64 != entry.size() {
            return Err(DriverError::file_system(format!(
                "cannot read {path}: the archive is cut off"
            )));
        }
        Ok(content.into())
    }

    /// Writes a regular file of a container, replacing one that is there. `path` is absolute, its directory exists;
    /// the file belongs to root and has the permission bits of `mode`.
    ///
    /// # Errors
    ///
    /// Those of `copy_into`.
    async fn write_file(&self, id: &str, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let (directory, name) = split_path(path)?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        header.set_mtime(now.as_secs());
        header.set_size(content.len() as u64);
        let mut archive = tar::Builder::new(Vec::new());
        let broken =
            |error: std::io::Error| DriverError::file_system(format!("cannot write {path}: {error}"));
        archive.append_data(&mut header, name, content).map_err(broken)?;
        let archive = Bytes::from(archive.into_inner().map_err(broken)?);
        let stream: ByteStream = Box::pin(futures_util::stream::iter([Ok(archive)]));
        self.copy_into(id, directory, stream).await
    }
}

impl<T: ContainerDriver + ?Sized> ContainerDriverExt for T {}

fn split_path(path: &str) -> Result<(&str, &str)> {
    match path.rsplit_once('/') {
        Some((directory, name)) if path.starts_with('/') && !matches!(name, "" | "." | "..") => {
            Ok((if directory.is_empty() { "/" } else { directory }, name))
        }
        _ => Err(DriverError::configuration(format!(
            "`{path}` is not the absolute path of a file; use one like /tmp/x"
        ))),
    }
}
