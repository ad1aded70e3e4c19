//! Layers: directories with the content of one tar each, named by its digest, never changed.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driver_local_shim::rootfs::Root;
use driver_local_shim::{FileWork, LAYER_ROOT, Limits};
use driver_types::{DriverError, Result};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::source::{Digested, decompressed};
use super::store::{ImageStore, Locked, broken_store};
use crate::file_worker::FileWorker;
use crate::tarball::{Archive, Rights, told, unpack_layer};

/// What is known of a layer: `layer.json` beside its directory `root`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    size_bytes: u64,
}

/// A layer that is being made, in `tmp`. Dropping it removes it.
pub(super) struct Draft {
    path: PathBuf,
    worker: Option<Arc<FileWorker>>,
    /// Its directory, locked as long as a process makes it; the lock of a dead one is free, and the draft is swept.
    lock: OwnedFd,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = remove_directory(&self.path, self.worker.as_deref()) {
            tracing::warn!(path = %self.path.display(), %error, "a layer that was not finished stays until the next sweep");
        }
    }
}

/// A layer that is whole, and not yet in its place.
pub(super) struct Made {
    pub(super) digest: String,
    draft: Draft,
}

impl Draft {
    /// A directory of one's own in `tmp`.
    pub(super) fn new(store: &ImageStore) -> io::Result<Self> {
        // No sweep comes between making and locking it.
        let _shared = store.lock(FlockOperation::LockShared)?;
        let path = store.temporary()?;
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let lock = locked_directory(&path)?;
        Ok(Self {
            path,
            worker: store.worker.clone(),
            lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the layer's content, made on the first call.
    pub(super) fn root(&self) -> io::Result<(PathBuf, Root)> {
        let path = self.path.join(LAYER_ROOT);
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let root = Root::open(&path)?;
        Ok((path, root))
    }

    /// Writes what is known of the layer, and everything to the disk.
    pub(super) fn finish(self, digest: String, size_bytes: u64) -> io::Result<Made> {
        let facts = serde_json::to_vec(&Facts { size_bytes })?;
        fs::write(self.path.join("layer.json"), facts)?;
        // A layer that is in its place after a power failure is whole.
        rustix::fs::syncfs(open_directory(&self.path)?)?;
        Ok(Made { digest, draft: self })
    }
}

/// Makes a layer of a tar, compressed or not.
pub(super) fn make(store: &ImageStore, tar: impl Read, limits: &Limits) -> Result<Made> {
    let draft = Draft::new(store).map_err(broken_store)?;
    let (_, root) = draft.root().map_err(broken_store)?;
    // Headers and padding come on top of what the files have.
    let limit = limits.bytes.saturating_add(limits.entries.saturating_mul(4096));
    let mut tar = Digested::new(decompressed(tar)?, limit);
    let size = match store.worker() {
        None => unpack_all(&mut tar, &root, limits).map_err(told)?,
        Some(worker) => {
            // With the lock, as nobody may sweep what is made: the shim may outlive this process by a moment.
            let unpacking = worker.unpack(&draft.lock, FileWork::UnpackLayer(*limits));
            unpacking.map_err(broken_store)?.feed(&mut tar)?
        }
    };
    draft.finish(tar.digest(), size).map_err(broken_store)
}

/// Unpacks a layer, and reads what is behind its entries too: the digest is of all.
fn unpack_all(tar: impl Read, root: &Root, limits: &Limits) -> crate::tarball::Result<u64> {
    let mut archive = Archive::new(tar);
    let size = unpack_layer(&mut archive, root, limits, Rights::of_this_process())?;
    archive.finish()?;
    Ok(size)
}

impl ImageStore {
    pub(super) fn layer(&self, digest: &str) -> PathBuf {
        self.dir().join("layers").join(digest)
    }

    pub(super) fn has_layer(&self, digest: &str) -> bool {
        self.layer(digest).join("layer.json").exists()
    }

    /// The directory with the content of a layer.
    pub(super) fn layer_root(&self, digest: &str) -> PathBuf {
        self.layer(digest).join(LAYER_ROOT)
    }

    pub(super) fn layer_size(&self, digest: &str) -> io::Result<u64> {
        let facts = fs::read(self.layer(digest).join("layer.json"))?;
        Ok(serde_json::from_slice::<Facts>(&facts)?.size_bytes)
    }

    /// Puts a layer in its place; one that is there already is the same.
    pub(super) fn place_layer(&self, _locked: &Locked, made: &Made) -> io::Result<()> {
        if self.has_layer(&made.digest) {
            return Ok(());
        }
        let path = self.layer(&made.digest);
        fs::rename(&made.draft.path, &path)?;
        sync_directory(&self.dir().join("layers"))
    }

    /// Takes the layers that none of these images needs out of their place; they are removed when what is returned is.
    pub(super) fn take_out_layers(&self, locked: &Locked, needed: &[String]) -> Vec<Discarded> {
        let names = fs::read_dir(self.dir().join("layers"))
            .into_iter()
            .flatten()
            .flatten();
        let unneeded = names.filter(|entry| {
            let name = entry.file_name();
            needed.iter().all(|digest| name != digest.as_str())
        });
        let discard = |entry: fs::DirEntry| match self.discard(locked, &entry.path()) {
            Ok(discarded) => Some(discarded),
            Err(error) => {
                tracing::warn!(path = %entry.path().display(), %error, "a layer that no image needs stays until the next removal");
                None
            }
        };
        unneeded.filter_map(discard).collect()
    }

    /// Moves a directory to `tmp`.
    pub(super) fn discard(&self, _locked: &Locked, path: &Path) -> io::Result<Discarded> {
        let gone = self.temporary()?;
        let lock = locked_directory(path)?;
        fs::rename(path, &gone)?;
        Ok(Discarded {
            path: gone,
            worker: self.worker.clone(),
            _lock: lock,
        })
    }

    /// Removes what dead processes left in `tmp`. Nothing is done while others make or remove images: they, or the next
    /// sweep, will.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        if fs::read_dir(self.tmp())?.next().is_none() {
            return Ok(());
        }
        let locked = match self.lock(FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            locked => locked?,
        };
        let mut dead = Vec::new();
        for entry in fs::read_dir(self.tmp())? {
            let path = entry?.path();
            let Ok(directory) = open_directory(&path) else {
                // A file that was to be renamed.
                fs::remove_file(&path)?;
                continue;
            };
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => dead.push((path, directory)),
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
        drop(locked);
        for (path, _) in &dead {
            // The shim of a dead process may still be at it.
            if let Err(error) = remove_directory(path, self.worker()) {
                tracing::warn!(path = %path.display(), %error, "what a dead process left stays until the next sweep");
            }
        }
        Ok(())
    }
}

/// A directory that is removed when this is dropped, after the lock was given back.
pub(super) struct Discarded {
    path: PathBuf,
    worker: Option<Arc<FileWorker>>,
    /// As that of a draft.
    _lock: OwnedFd,
}

impl Drop for Discarded {
    fn drop(&mut self) {
        if let Err(error) = remove_directory(&self.path, self.worker.as_deref()) {
            tracing::warn!(path = %self.path.display(), %error, "a layer that was removed stays on the disk until the next sweep");
        }
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn locked_directory(path: &Path) -> io::Result<OwnedFd> {
    let directory = open_directory(path)?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
    Ok(directory)
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::fsync(open_directory(path)?)?)
}

/// Removes a directory with all that is in it, also where a stranger chose what that is.
fn remove_directory(path: &Path, worker: Option<&FileWorker>) -> io::Result<()> {
    let (parent, name) = (
        path.parent().unwrap_or(Path::new("/")),
        path.file_name().unwrap_or_default(),
    );
    match (Root::open(parent)?.place(Path::new(name))?.remove_all(), worker) {
        (Err(error), Some(worker)) if error.kind() == io::ErrorKind::PermissionDenied => {
            worker.remove(parent, &name.to_string_lossy())
        }
        (removed, _) => removed,
    }
}

/// That a layer is missing which an image needs: somebody else changed the state directory.
pub(super) fn missing(digest: &str) -> DriverError {
    DriverError::file_system(format!(
        "the layer sha256:{digest} is missing in the state directory; remove the image and import or pull it again"
    ))
}
