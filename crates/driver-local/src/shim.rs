//! Starting the shim: the embedded program in a sealed memfd, spawned with a socket as its stdin.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use driver_local_shim::{MAX_MESSAGE, Report, Task};
use driver_types::DriverError;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::ready;

include!(concat!(env!("OUT_DIR"), "/shim.rs"));

/// The shim, ready to be spawned. A clone is another handle on the same file.
#[derive(Clone, Debug)]
pub(crate) struct Shim {
    program: Arc<File>,
}

/// A spawned shim. Dropping it leaves the process alone; it is reaped in the background.
#[derive(Debug)]
pub(crate) struct ShimProcess {
    /// Its pid, until it was reaped.
    pub(crate) pid: i32,
    /// The socket that is its stdin.
    pub(crate) socket: UnixStream,
    /// Returns when it has ended.
    pub(crate) ended: JoinHandle<()>,
}

impl Shim {
    /// Puts the program into a sealed memfd: nobody can change what runs, from inside a container or outside
    /// (CVE-2019-5736).
    ///
    /// # Errors
    ///
    /// The program could not be built with this crate, or the kernel has no memfds.
    pub(crate) fn load() -> io::Result<Self> {
        let program = PROGRAM.map_err(|reason| {
            let message =
                format!("the shim was not built with this program ({reason}); install a static C library");
            io::Error::new(io::ErrorKind::Unsupported, message)
        })?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("driver-local-shim", flags)?);
        file.write_all(program)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals)?;
        Ok(Self {
            program: Arc::new(file),
        })
    }

    /// Spawns a shim and sends it its task. Never forks this process: `Command` without hooks is `posix_spawn`.
    ///
    /// # Errors
    ///
    /// The process or the socket could not be made, or the shim died before it took its task.
    pub(crate) async fn spawn(&self, task: &Task) -> io::Result<ShimProcess> {
        let program = Arc::clone(&self.program);
        // A spawn blocks until the new process has executed.
        let (child, socket) = tokio::task::spawn_blocking(move || spawn(&program))
            .await
            .map_err(io::Error::other)??;
        socket.set_nonblocking(true)?;
        let pid = child.id().cast_signed();
        let ended = reap(child)?;
        let mut process = ShimProcess {
            pid,
            ended,
            socket: UnixStream::from_std(socket)?,
        };
        process.socket.write_all(&driver_local_shim::encode(task)).await?;
        Ok(process)
    }
}

fn spawn(program: &File) -> io::Result<(Child, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0("driver-local-shim")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((child, ours))
}

/// Waits for the end of the process without a thread for each.
fn reap(mut child: Child) -> io::Result<JoinHandle<()>> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let pidfd = ready::register(pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE)?;
    Ok(tokio::spawn(async move {
        // An error means that the runtime ends: the process outlives it, as it should.
        if pidfd.readable().await.is_ok() {
            let _ = child.wait();
        }
    }))
}

impl ShimProcess {
    /// The next report.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where the shim died first; `InvalidData` for what is no report.
    pub(crate) async fn report(&mut self) -> io::Result<Report> {
        let length = self.socket.read_u32().await? as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a report that is too long",
            ));
        }
        let mut wire = (length as u32).to_be_bytes().to_vec();
        wire.resize(4 + length, 0);
        self.socket.read_exact(&mut wire[4..]).await?;
        driver_local_shim::decode(&mut wire.as_slice())
    }
}

/// What went wrong between this process and a shim, for callers.
pub(crate) fn lost(error: &io::Error) -> DriverError {
    DriverError::internal(format!("the shim did not answer: {error}"))
}

/// A descriptor of the shim's program, for tests of its seals.
impl AsFd for Shim {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.program.as_fd()
    }
}
