//! Locks between processes: flock on files of the state directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock(#[expect(dead_code, reason = "closing it lets the lock go")] File);

impl FileLock {
    /// Waits for the lock on the file, which is made where it is missing.
    ///
    /// # Errors
    ///
    /// Those of the file; `NotFound` where its directory is gone.
    pub(crate) async fn acquire(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            // Somebody else has it: wait on a thread that may block.
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let waited = tokio::task::spawn_blocking(move || {
                    flock(&file, FlockOperation::LockExclusive).map(|()| Self(file))
                });
                Ok(waited.await.map_err(io::Error::other)??)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the lock, alone or shared with others who ask for it so. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(crate) fn wait(path: &Path, operation: FlockOperation) -> io::Result<Self> {
        let file = open(path)?;
        loop {
            match flock(&file, operation) {
                Err(rustix::io::Errno::INTR) => {}
                locked => return Ok(locked.map(|()| Self(file))?),
            }
        }
    }

    /// The lock, unless somebody has it.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(crate) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether somebody has it alone. Those who only look are not in each other's way: they share it for a moment.
    pub(crate) fn is_taken(path: &Path) -> bool {
        let looked = open(path).map(|file| flock(&file, FlockOperation::NonBlockingLockShared));
        matches!(looked, Ok(Err(rustix::io::Errno::WOULDBLOCK)))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}
