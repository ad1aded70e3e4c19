//! `copy_into` and `copy_from`: tar streams below a container's root.
//!
//! A running container's root is that of its first process, with everything mounted in it. Of one that does not run, a shim
//! makes the root and holds it for as long as the copy takes; nobody can start it meanwhile.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use driver_local_shim::rootfs::Root;
use driver_local_shim::{FileWork, HoldTask, Report, Task};
use driver_types::{ByteStream, ContainerStatus, DriverError, Operation, Result};
use futures_util::stream;
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;

use crate::DRIVER_NAME;
use crate::container::Container;
use crate::core::{Core, Turn, blocking};
use crate::file_worker::{FileWorker, Packing};
use crate::shim::{self, ShimProcess};
use crate::tarball::{Archive, Found, Rights, StreamReader, refuse_kernels, told, unpack_copy};
use crate::{disk, launch, process};

/// The pieces of a stream that is read.
const PIECE: usize = 64 * 1024;
/// How many of them wait for a slow reader.
const PIECES: usize = 4;

/// The root of a container, for as long as this lives.
struct Held {
    root: Root,
    _holder: Option<(ShimProcess, Turn)>,
}

/// Unpacks a tar stream under a directory.
pub(crate) async fn copy_into(core: &Arc<Core>, id: &str, path: &str, archive: ByteStream) -> Result<()> {
    driver_validation::validate_path(path)?;
    let held = hold(core, id).await?;
    let reader = StreamReader::new(archive);
    let path = path.to_owned();
    let worker = core.layout.file_worker().cloned();
    blocking(move || match worker {
        None => unpack(&held.root, &path, reader),
        Some(worker) => unpack_by(&worker, &held.root, &path, reader),
    })
    .await
}

fn unpack(root: &Root, path: &str, archive: impl io::Read) -> Result<()> {
    let directory = Path::new(path);
    let target = root.dir(directory).and_then(refuse_kernels);
    target.map_err(|error| refused(path, &error))?;
    let mut archive = Archive::perhaps_empty(archive);
    let unpacked = unpack_copy(&mut archive, root, directory, Rights::of_this_process());
    unpacked.map_err(|error| described(told(error), path))
}

/// The same, with the rights of the container's root.
fn unpack_by(worker: &FileWorker, root: &Root, path: &str, archive: impl io::Read) -> Result<()> {
    let unpacking = worker.unpack(root, FileWork::UnpackCopy(path.to_owned()));
    let fed = unpacking.map_err(|error| refused(path, &error))?.feed(archive);
    fed.map(drop).map_err(|error| described(error, path))
}

/// What is to be copied out, and by whom.
enum Source {
    Driver(Found),
    Shim(Packing),
}

impl Source {
    fn look(root: &Root, path: &str, worker: Option<&FileWorker>) -> io::Result<Self> {
        Ok(match worker {
            None => Self::Driver(Found::look(root, Path::new(path))?),
            Some(worker) => Self::Shim(worker.pack(root, FileWork::PackCopy(path.to_owned()))?),
        })
    }

    fn pack(self, pieces: Pieces) -> io::Result<()> {
        match self {
            Self::Driver(found) => found.pack(BufWriter::with_capacity(PIECE, pieces)),
            Self::Shim(packing) => packing.drain(pieces),
        }
    }
}

/// A file or directory as a tar stream.
pub(crate) async fn copy_from(core: &Arc<Core>, id: &str, path: &str) -> Result<ByteStream> {
    driver_validation::validate_path(path)?;
    let held = hold(core, id).await?;
    let path = path.to_owned();
    let worker = core.layout.file_worker().cloned();
    // What is missing is told by the call, not by the stream.
    let (held, source, path) = blocking(move || {
        let source = Source::look(&held.root, &path, worker.as_deref());
        let source = source.map_err(|error| refused(&path, &error))?;
        Ok((held, source, path))
    })
    .await?;
    Ok(packed(source, path, held))
}

/// What was found as a stream. A reader that goes away ends the packing, and with it lets the root go.
fn packed(source: Source, path: String, held: impl Send + 'static) -> ByteStream {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let packed = source.pack(Pieces(sender.clone()));
        drop(held);
        if let Err(error) = packed {
            let error = refused(&path, &error)
                .with_operation(Operation::CopyFrom.name())
                .with_driver(DRIVER_NAME);
            // Nobody reads: nobody is to be told.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Box::pin(stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    }))
}

/// Writes into a channel; an error once nobody reads.
struct Pieces(mpsc::Sender<Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(data)));
        sent.map(|()| data.len())
            .map_err(|_| ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The root of a container as it is now.
async fn hold(core: &Arc<Core>, id: &str) -> Result<Held> {
    loop {
        // Before the look: what changes after it wakes.
        let changed = core.containers.watch(id);
        let container = core.containers.find(id)?;
        if let Some(root) = running_root(&container)? {
            return Ok(Held { root, _holder: None });
        }
        let turn = core.turn(id).await?;
        if turn.container.live().is_none() {
            return hold_by_shim(core, turn).await;
        }
        drop(turn);
        // Just started, or its process is gone and that is about to be written.
        if container.live().is_some()
            && let Some(mut changed) = changed
        {
            let _ = changed.changed().await;
        }
    }
}

/// The root of the first process, where there is one.
fn running_root(container: &Container) -> Result<Option<Root>> {
    let Some(run) = container.live().filter(|run| process::open(&run.init).is_some()) else {
        return Ok(None);
    };
    let opened = open_root(run.init.pid);
    // Else the number may have been given to another process by then, and the root is that one's.
    if process::open(&run.init).is_none() {
        return Ok(None);
    }
    opened
        .map(Some)
        .map_err(|error| DriverError::file_system(error.to_string()))
}

async fn hold_by_shim(core: &Arc<Core>, turn: Turn) -> Result<Held> {
    let status = turn.container.status();
    if matches!(status, ContainerStatus::Removing | ContainerStatus::Dead) {
        let allowed = ContainerStatus::ALL
            .into_iter()
            .filter(|status| !matches!(status, ContainerStatus::Removing | ContainerStatus::Dead));
        return Err(DriverError::invalid_state(turn.container.id(), status, allowed));
    }
    let dir = turn.container.dir.clone();
    blocking(move || disk::ready(&dir)).await?;
    let task = HoldTask {
        sandbox: launch::sandbox(core, &turn.container),
    };
    let spawned = core.shim.spawn(&Task::Hold(Box::new(task))).await;
    let mut holder = spawned.map_err(|error| shim::lost(&error))?;
    let pid = match holder.report().await {
        Ok(Report::Holding { pid }) => pid,
        Ok(Report::Failed { message, .. }) => return Err(DriverError::file_system(message)),
        Ok(_) => return Err(DriverError::internal("the shim answered another question")),
        Err(error) => return Err(shim::lost(&error)),
    };
    let opened = open_root(pid).and_then(|root| match holder.waits() {
        true => Ok(root),
        // Its number may be another process's by now.
        false => Err(io::Error::other("the process that holds the files has ended")),
    });
    let root = opened.map_err(|error| DriverError::file_system(error.to_string()))?;
    Ok(Held {
        root,
        _holder: Some((holder, turn)),
    })
}

fn open_root(pid: i32) -> io::Result<Root> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root: OwnedFd = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    Ok(root.into())
}

/// What the kernel refused, with the path and the way out.
fn refused(path: &str, error: &io::Error) -> DriverError {
    let refused = DriverError::file_system(format!("{path}: {error}")).with_context("path", path);
    hinted(refused, error.kind())
}

/// Likewise what an entry of an archive was refused for.
fn described(error: DriverError, path: &str) -> DriverError {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    let kind = source.map_or(ErrorKind::Other, io::Error::kind);
    hinted(error.with_context("path", path), kind)
}

fn hinted(error: DriverError, kind: ErrorKind) -> DriverError {
    if kind == ErrorKind::ReadOnlyFilesystem {
        let hint = "mount a writable volume there, or make the container with security.readOnly: false";
        return error.with_context("hint", hint);
    }
    error
}

#[cfg(test)]
mod tests;
