//! `copy_into` and `copy_from`: tar streams below a container's root.
//!
//! A running container's root is that of its first process, with everything mounted in it. Of one that does not run, a shim
//! makes the root and holds it for as long as the copy takes; nobody can start it meanwhile.

mod pack;
mod unpack;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use driver_local_shim::{HoldTask, Report, Task};
use driver_types::{ByteStream, ContainerStatus, DriverError, Operation, Result};
use futures_util::{TryStreamExt, stream};
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;

use crate::DRIVER_NAME;
use crate::core::{Core, Turn, blocking};
use crate::images::StreamReader;
use crate::rootfs::Root;
use crate::shim::{self, ShimProcess};
use crate::{launch, process};

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
    let (archive, failure) = watched(archive);
    let reader = StreamReader::new(archive);
    let target = path.to_owned();
    let unpacked = blocking(move || {
        let result = unpack::unpack(&held.root, Path::new(&target), reader);
        drop(held);
        result.map_err(|error| refused(&target, &error))
    })
    .await;
    match failure
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take()
    {
        // What broke the caller's stream is the error to tell.
        Some(error) => Err(error.with_context("path", path)),
        None => unpacked,
    }
}

type Failure = Arc<std::sync::Mutex<Option<DriverError>>>;

/// A stream that remembers its error.
fn watched(archive: ByteStream) -> (ByteStream, Failure) {
    let failure = Failure::default();
    let note = Arc::clone(&failure);
    let stream = archive.inspect_err(move |error| {
        *note.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error.clone());
    });
    (Box::pin(stream), failure)
}

/// A file or directory as a tar stream.
pub(crate) async fn copy_from(core: &Arc<Core>, id: &str, path: &str) -> Result<ByteStream> {
    driver_validation::validate_path(path)?;
    let held = hold(core, id).await?;
    let path = path.to_owned();
    // What is missing is told by the call, not by the stream.
    let found = {
        let path = path.clone();
        blocking(move || {
            let found = pack::find(&held.root, Path::new(&path)).map_err(|error| refused(&path, &error))?;
            Ok((held, found))
        })
        .await?
    };
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let (held, found) = found;
        let mut pieces = BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
        let packed = pack::pack(&found, &mut pieces).and_then(|()| pieces.flush());
        drop(held);
        // A reader that went away is no error.
        if let Err(error) = packed.filter_gone() {
            let error = refused(&path, &error)
                .with_operation(Operation::CopyFrom.name())
                .with_driver(DRIVER_NAME);
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(Box::pin(stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })))
}

/// Writes into a channel; an error once nobody reads.
struct Pieces(mpsc::Sender<Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(data)));
        sent.map(|()| data.len())
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

trait FilterGone {
    fn filter_gone(self) -> io::Result<()>;
}

impl FilterGone for io::Result<()> {
    fn filter_gone(self) -> io::Result<()> {
        match self {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}

async fn hold(core: &Arc<Core>, id: &str) -> Result<Held> {
    let container = core.containers.find(id)?;
    if let Some(run) = container.live()
        && let Some(_process) = process::open(run)
    {
        let root = open_root(run.init_pid).map_err(|error| DriverError::file_system(error.to_string()))?;
        return Ok(Held { root, _holder: None });
    }
    let turn = core.turn(id).await?;
    match turn.container.status() {
        // It was started while the turn was awaited.
        ContainerStatus::Running | ContainerStatus::Paused => return Box::pin(hold(core, id)).await,
        status @ (ContainerStatus::Removing | ContainerStatus::Dead) => {
            let allowed = [
                ContainerStatus::Created,
                ContainerStatus::Running,
                ContainerStatus::Paused,
                ContainerStatus::Stopped,
                ContainerStatus::Exited,
            ];
            return Err(DriverError::invalid_state(id, status, allowed));
        }
        _ => {}
    }
    let task = HoldTask {
        sandbox: launch::sandbox(core, &turn.container),
    };
    let spawned = core.shim.spawn(&Task::Hold(Box::new(task))).await;
    let mut holder = spawned.map_err(|error| shim::lost(&error))?;
    match holder.report().await {
        Ok(Report::Ready) => {}
        Ok(Report::Failed { message, .. }) => return Err(DriverError::file_system(message)),
        Ok(Report::Started { .. }) => {
            return Err(DriverError::internal("the shim answered another question"));
        }
        Err(error) => return Err(shim::lost(&error)),
    }
    let root = open_root(holder.pid).map_err(|error| DriverError::file_system(error.to_string()))?;
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
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        let hint = "mount a writable volume there, or make the container with security.readOnly: false";
        return refused.with_context("hint", hint);
    }
    refused
}

/// A descriptor of a file that can be read from one with `O_PATH`, without following anything again.
fn readable(path: &OwnedFd) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = format!("/proc/self/fd/{}", path.as_raw_fd());
    Ok(rustix::fs::open(own, flags, Mode::empty())?.into())
}
