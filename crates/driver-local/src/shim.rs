//! Starting shims: the embedded program in a sealed memfd, executed once as a server that forks them.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driver_local_shim::{ExecTask, JoinTask, MAX_MESSAGE, Report, RunCgroups, RunTask, Task};
use driver_types::DriverError;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::cgroups::{Cgroups, Prepared};
use crate::launch::SHM_BYTES;

include!(concat!(env!("OUT_DIR"), "/shim.rs"));

/// The shim, ready to be started. A clone is another handle on the same.
#[derive(Clone, Debug)]
pub(crate) struct Shim {
    program: Arc<File>,
    forks: Arc<Mutex<Option<ForkServer>>>,
    /// Those with namespaces made for a run, and those that wait for any task.
    prepared: Arc<Mutex<Vec<ShimProcess>>>,
    spare: Arc<Mutex<Vec<ShimProcess>>>,
    /// Those that have joined a container for its next exec; the latest is the last.
    joined: Arc<Mutex<Vec<(JoinTask, ShimProcess)>>>,
    preparing: Arc<tokio::sync::Mutex<()>>,
}

/// How many shims are to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// With namespaces made for a run.
    pub(crate) runs: usize,
    /// For any task.
    pub(crate) any: usize,
}

/// A started shim. Dropping it leaves the process alone, unless it still waits for its task.
#[derive(Debug)]
pub(crate) struct ShimProcess {
    /// The socket that tasks and reports are on.
    pub(crate) socket: UnixStream,
    /// The cgroups that its first process is in, where one was prepared.
    pub(crate) cgroups: Option<Prepared>,
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
            forks: Arc::default(),
            prepared: Arc::default(),
            spare: Arc::default(),
            joined: Arc::default(),
            preparing: Arc::default(),
        })
    }

    /// Has a shim do a task, and ends it after its first report. Blocks until then, or for `limit`.
    ///
    /// # Errors
    ///
    /// As of [`spawn`](Self::spawn) and of [`report`](ShimProcess::report); `WouldBlock` where there is none in time.
    pub(crate) fn attempt(&self, task: &Task, limit: Option<Duration>) -> io::Result<Report> {
        let (mut child, mut socket) = execute(&self.program)?;
        socket.set_read_timeout(limit)?;
        let sent = socket.write_all(&driver_local_shim::encode(task));
        let report = sent.and_then(|()| driver_local_shim::decode(&mut socket));
        // The end of the socket is that of its work.
        drop(socket);
        if report.is_err() {
            child.kill()?;
        }
        child.wait()?;
        report
    }

    /// Has a shim do a task that can be repeated; one of the fork server, which is cheaper, where that runs. Blocks.
    ///
    /// # Errors
    ///
    /// As [`attempt`](Self::attempt).
    pub(crate) fn ask(&self, task: &Task) -> io::Result<Report> {
        let (mut ours, theirs) = StdUnixStream::pair()?;
        let forked = lock(&self.forks)
            .as_ref()
            .is_some_and(|server| server.fork(&theirs).is_ok());
        // Where the server is killed now, nobody has the other end.
        drop(theirs);
        let mut ask = || {
            ours.write_all(&driver_local_shim::encode(task))?;
            driver_local_shim::decode(&mut ours)
        };
        match forked.then(&mut ask) {
            Some(Ok(report)) => Ok(report),
            _ => self.attempt(task, None),
        }
    }

    /// A new shim that waits for its task, which is the fork server's. Blocks.
    ///
    /// # Errors
    ///
    /// The process or the socket could not be made.
    pub(crate) fn connect(&self) -> io::Result<StdUnixStream> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let mut forks = lock(&self.forks);
        let forked = forks.as_ref().is_some_and(|server| server.fork(&theirs).is_ok());
        if !forked {
            let server = ForkServer::begin(&self.program)?;
            server.fork(&theirs)?;
            *forks = Some(server);
        }
        Ok(ours)
    }

    /// Starts a shim and sends it its task. Never forks this process.
    ///
    /// # Errors
    ///
    /// The process or the socket could not be made, or the shim died before it took its task.
    pub(crate) async fn spawn(&self, task: &Task) -> io::Result<ShimProcess> {
        if let Some(mut process) = next_of(&self.spare)
            && process.give(task).await.is_ok()
        {
            return Ok(process);
        }
        let mut process = self.fork().await?;
        process.give(task).await?;
        Ok(process)
    }

    /// One that waits for a run, if there is one.
    pub(crate) fn take_prepared(&self) -> Option<ShimProcess> {
        next_of(&self.prepared)
    }

    /// Starts the shim of a run: the one that waits, if it takes the task.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub(crate) async fn run(&self, waiting: Option<ShimProcess>, task: RunTask) -> io::Result<ShimProcess> {
        let task = Task::Run(Box::new(task));
        if let Some(mut process) = waiting
            && process.give(&task).await.is_ok()
        {
            return Ok(process);
        }
        self.spawn(&task).await
    }

    /// Starts the shim of an exec; one that has joined the container, if there is one that can serve it.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub(crate) async fn exec(&self, task: ExecTask) -> io::Result<ShimProcess> {
        let joined = self.take_joined(&task);
        let task = Task::Exec(Box::new(task));
        if let Some(mut process) = joined
            && process.give(&task).await.is_ok()
            && process.answers().await
        {
            return Ok(process);
        }
        self.spawn(&task).await
    }

    fn take_joined(&self, task: &ExecTask) -> Option<ShimProcess> {
        let mut joined = lock(&self.joined);
        let join = (!joined.is_empty()).then(|| task.joining())?;
        let found = joined.iter().position(|(other, _)| *other == join)?;
        Some(joined.remove(found).1)
    }

    /// Lets a shim join a container for the next exec in it, if none has. Of more than `most` the oldest is let go of.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub(crate) async fn join(&self, join: JoinTask, most: usize) -> io::Result<()> {
        self.forget_ended();
        if lock(&self.joined).iter().any(|(other, _)| *other == join) {
            return Ok(());
        }
        let mut process = self.fork().await?;
        process.give(&Task::Join(Box::new(join.clone()))).await?;
        let mut joined = lock(&self.joined);
        joined.push((join, process));
        let excess = joined.len().saturating_sub(most);
        joined.drain(..excess);
        Ok(())
    }

    /// Lets go of those that have ended with their container.
    pub(crate) fn forget_ended(&self) {
        lock(&self.joined).retain(|(_, process)| process.waits());
    }

    /// Whether as many wait as are to.
    pub(crate) fn is_prepared(&self, wanted: Waiting) -> bool {
        lock(&self.prepared).len() >= wanted.runs && lock(&self.spare).len() >= wanted.any
    }

    /// Makes sure that as many wait. One call is at it at a time; others leave it to that one.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub(crate) async fn prepare(&self, wanted: Waiting, cgroups: &Cgroups) -> io::Result<()> {
        let Ok(_turn) = self.preparing.try_lock() else {
            return Ok(());
        };
        while lock(&self.prepared).len() < wanted.runs {
            let mut process = self.fork().await?;
            process.cgroups = cgroups.prepare()?;
            let groups = process.cgroups.as_ref().map(|prepared| prepared.groups.clone());
            let task = Task::Prepare {
                shm_bytes: SHM_BYTES,
                cgroups: groups.unwrap_or_default(),
            };
            process.give(&task).await?;
            lock(&self.prepared).push(process);
        }
        while lock(&self.spare).len() < wanted.any {
            let process = self.fork().await?;
            lock(&self.spare).push(process);
        }
        Ok(())
    }

    /// Lets go of all that waits. It is made anew where it is needed again.
    pub(crate) fn rest(&self) {
        lock(&self.prepared).clear();
        lock(&self.spare).clear();
        lock(&self.joined).clear();
        lock(&self.forks).take();
    }

    async fn fork(&self) -> io::Result<ShimProcess> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let forked = lock(&self.forks)
            .as_ref()
            .is_some_and(|server| server.fork(&theirs).is_ok());
        if !forked {
            let (program, forks) = (Arc::clone(&self.program), Arc::clone(&self.forks));
            let begin = move || {
                let server = ForkServer::begin(&program)?;
                server.fork(&theirs)?;
                *lock(&forks) = Some(server);
                io::Result::Ok(())
            };
            // A spawn blocks until the new process has executed.
            tokio::task::spawn_blocking(begin)
                .await
                .map_err(io::Error::other)??;
        }
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        Ok(ShimProcess {
            socket,
            cgroups: None,
        })
    }
}

/// The process that forks shims. It ends with its socket.
#[derive(Debug)]
struct ForkServer {
    socket: StdUnixStream,
    child: Option<Child>,
}

impl ForkServer {
    fn begin(program: &File) -> io::Result<Self> {
        let (child, mut socket) = execute(program)?;
        let server = Self {
            socket: socket.try_clone()?,
            child: Some(child),
        };
        socket.write_all(&driver_local_shim::encode(&Task::ForkServer))?;
        // One that is stopped must not stop the driver.
        socket.set_nonblocking(true)?;
        Ok(server)
    }

    /// Asks for a shim at the other end of this socket.
    fn fork(&self, theirs: &StdUnixStream) -> io::Result<()> {
        send_descriptor(&self.socket, theirs.as_fd())
    }
}

/// Sends a byte, and a descriptor with it.
pub(crate) fn send_descriptor(socket: &StdUnixStream, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        // Not only our end of it: a clone may be in another process that this one is just forking.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(mut child) = self.child.take() {
            std::thread::spawn(move || child.wait());
        }
    }
}

/// Executes the program, with the other end of the socket as its stdin. Never forks this process: `Command` without hooks is
/// `posix_spawn`.
fn execute(program: &File) -> io::Result<(Child, StdUnixStream)> {
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

/// One that waits. One that was killed meanwhile has closed its end.
fn next_of(waiting: &Mutex<Vec<ShimProcess>>) -> Option<ShimProcess> {
    let next = || lock(waiting).pop();
    std::iter::from_fn(next).find(ShimProcess::waits)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ShimProcess {
    async fn give(&mut self, task: &Task) -> io::Result<()> {
        self.socket.write_all(&driver_local_shim::encode(task)).await
    }

    /// Returns when the process has ended, and with it its end of the socket.
    pub(crate) async fn ended(mut self) {
        // It has nothing more to say.
        while matches!(self.socket.read(&mut [0; 64]).await, Ok(1..)) {}
    }

    /// Tells the shim of a run that its cgroups are there.
    pub(crate) async fn go_on(&mut self, cgroups: RunCgroups) -> io::Result<()> {
        self.socket.write_all(&[cgroups as u8]).await
    }

    /// Whether the process lives and has nothing to say.
    pub(crate) fn waits(&self) -> bool {
        // Of the kernel: the runtime may not have heard yet.
        self.peek().is_err_and(|error| error == Errno::AGAIN)
    }

    /// Waits until the process has something to say, or ends without.
    async fn answers(&self) -> bool {
        let peek = || self.peek().map_err(io::Error::from);
        let said = self.socket.async_io(Interest::READABLE, peek).await;
        said.is_ok_and(|bytes| bytes > 0)
    }

    fn peek(&self) -> rustix::io::Result<usize> {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(&self.socket, &mut [0], flags).map(|(_, bytes)| bytes)
    }

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
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}
