//! A run: making it, and telling the driver.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{
    Cgroup, NetworkNamespace, Report, RunCgroups, RunTask, SOCKET, Stage, UserNamespace, encode, record,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::cgroups::Joinable;
use crate::clock::{now_ms, start_time};
use crate::container::{self, Equipment};
use crate::directory::Directory;
use crate::failure::{At, Failure, Result};
use crate::first::FirstProcess;
use crate::helper::Helper;
use crate::logs::LogWriter;
use crate::oom::OomWatch;
use crate::prepared::Ahead;
use crate::server::Server;
use crate::status::{self, Progress, Watching};
use crate::streams::{ERR, OUT, Ours, Streams};
use crate::supervisor::Supervisor;
use crate::sys::Child;
use crate::userns;

/// The file in which an init tells how the main process ended. It outlives the shim.
pub(crate) const EXIT: &str = "exit";

/// What is watched of a run, whether it has begun or not.
pub(crate) struct Run {
    pub(crate) number: u32,
    pub(crate) streams: Ours,
    pub(crate) log: LogWriter,
    pub(crate) oom: Option<OomWatch>,
    pub(crate) server: Server,
    pub(crate) cgroups: Vec<Cgroup>,
    /// The lock of its network helper, open before Landlock forbids that.
    pub(crate) helper: Option<OwnedFd>,
    /// Holds the container's mounts, so that its end need not wait until they are taken apart.
    pub(crate) _mounts: Option<OwnedFd>,
    /// Its lock is the last that is let go of.
    pub(crate) directory: Directory,
}

/// Runs a container to its end.
pub(crate) fn run(task: RunTask, driver: OwnedFd, ahead: Ahead) -> ExitCode {
    match begin(task, &driver, ahead) {
        Ok((supervisor, report)) => {
            // A driver that was killed just now finds it in the journal.
            let _ = tell(&driver, &report);
            // Without Landlock it goes on as it is.
            let _ = supervisor.needs().wall_off();
            // The socket is open as long as this process lives: a driver hears of its end.
            supervisor.watch();
            drop(driver);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = tell(&driver, &failure.into());
            ExitCode::FAILURE
        }
    }
}

/// Sends a report to the driver.
pub(crate) fn tell(driver: &OwnedFd, report: &Report) -> io::Result<()> {
    let mut socket = std::fs::File::from(driver.try_clone()?);
    socket.write_all(&encode(report))
}

/// Tells how a task ended that has nothing more to say.
pub(crate) fn tell_end(driver: &OwnedFd, done: Result<()>) -> ExitCode {
    let report = match done {
        Ok(()) => Report::Ready,
        Err(failure) => failure.into(),
    };
    match (tell(driver, &report), report) {
        (Ok(()), Report::Ready) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn begin(task: RunTask, driver: &OwnedFd, ahead: Ahead) -> Result<(Supervisor, Report)> {
    let directory = Directory::open(&task.directory)?;
    match make(&task, &directory, driver, ahead) {
        Ok((begun, streams, server, log)) => {
            let report = Report::Started {
                init_pid: begun.child.pid.as_raw_nonzero().get(),
                init_start_time: begun.start_time,
            };
            let run = Run {
                number: task.run,
                streams,
                log,
                oom: begun.oom,
                server,
                cgroups: task.cgroups,
                helper: directory.helper(),
                _mounts: mounts(&begun.child),
                directory,
            };
            Ok((Supervisor::new(run, Some(begun.child), Some(begun.exit)), report))
        }
        Err(failure) => {
            directory.await_helper(directory.helper().as_ref());
            for name in [SOCKET, OUT, ERR, EXIT] {
                directory.remove(name);
            }
            Err(failure)
        }
    }
}

/// A container whose program runs.
struct Begun {
    child: Child,
    exit: OwnedFd,
    oom: Option<OomWatch>,
    start_time: u64,
}

fn make(
    task: &RunTask,
    directory: &Directory,
    driver: &OwnedFd,
    ahead: Ahead,
) -> Result<(Begun, Ours, Server, LogWriter)> {
    let (watching, status) = status::channel().at(Stage::Prepare, || "a socket")?;
    let first = FirstProcess::begin(task, ahead, status)?;
    let log = LogWriter::open(directory.open_log()?, task.log).at(Stage::Prepare, || "the log")?;
    let Streams {
        container: stdio,
        held,
        shim: mut streams,
    } = Streams::make(directory, task)?;
    let server = Server::new(directory.listen()?);
    let cgroups = await_cgroups(driver)?;
    let oom = OomWatch::open(&task.cgroups);
    let (exit, their_exit) = exit_channel(directory, task)?;
    let equipment = Equipment {
        cgroups: match first.is_in(cgroups) {
            true => None,
            false => Some(Joinable::open(&task.cgroups)?),
        },
        stdio,
        held,
        exit: their_exit,
    };
    if let Some(pid) = first.pid() {
        announce(task, directory, pid)?;
    }
    let child = first.equip(equipment, &watching)?;
    // Only now: the container is not spared.
    spare_from_oom();
    if let Some(user) = &task.sandbox.user {
        map_users(&child, user, || match &task.sandbox.network {
            NetworkNamespace::Helper(helper) => Helper::begin(helper, &child, directory)?.await_ready(driver),
            _ => Ok(()),
        })?;
        announce(task, directory, child.pid)?;
        watching.give_leave()?;
    }
    if let Some(terminal) = await_program(&watching, driver)? {
        streams.set_terminal(terminal)?;
    }
    let start_time = start_time(child.pid).at(Stage::Exec, || "the container's first process")?;
    let pid = child.pid.as_raw_nonzero().get();
    let record = record::started(task.run, pid, start_time, &task.boot_id, now_ms());
    directory.append(&record).at(Stage::Prepare, || "the journal")?;
    let begun = Begun {
        child: child.keep(),
        exit,
        oom,
        start_time,
    };
    Ok((begun, streams, server, log))
}

/// Writes down a first process before its program can begin: where this process is killed before it can tell that it has begun,
/// nobody would find it. Cgroups tell of it as well.
fn announce(task: &RunTask, directory: &Directory, pid: Pid) -> Result<()> {
    if !task.cgroups.is_empty() {
        return Ok(());
    }
    let start_time = start_time(pid).at(Stage::Namespaces, || "the container's first process")?;
    let pid = pid.as_raw_nonzero().get();
    let record = record::forked(task.run, pid, start_time, &task.boot_id);
    directory.append(&record).at(Stage::Prepare, || "the journal")
}

/// Where an init writes how the main process ended, and where that is read. In a user namespace processes of the container can
/// reach what init has open: there it is no file of the host's disk.
fn exit_channel(directory: &Directory, task: &RunTask) -> Result<(OwnedFd, OwnedFd)> {
    if task.sandbox.user.is_some() {
        return pipe_with(PipeFlags::CLOEXEC).at(Stage::Prepare, || "a pipe");
    }
    directory.remove(EXIT);
    let theirs = directory.open_file(EXIT, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    Ok((directory.open_file(EXIT, OFlags::RDWR)?, theirs))
}

/// The mount namespace of a container. Absent where this process may not hold it.
fn mounts(init: &Child) -> Option<OwnedFd> {
    let path = format!("/proc/{}/ns/mnt", init.pid.as_raw_nonzero());
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Waits until the driver has made the cgroups.
fn await_cgroups(driver: &OwnedFd) -> Result<RunCgroups> {
    let mut byte = [0];
    match rustix::io::retry_on_intr(|| rustix::io::read(driver, &mut byte)) {
        Ok(1) if byte == [RunCgroups::Taken as u8] => Ok(RunCgroups::Taken),
        Ok(1) => Ok(RunCgroups::Made),
        _ => Err(Failure::new(Stage::Prepare, "the driver is gone")),
    }
}

/// Writes the maps, and does what can be done only as long as the namespaces of the first process can be opened.
fn map_users(child: &Child, user: &UserNamespace, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    userns::write_maps(child.pid, user)?;
    userns::close()?;
    meanwhile()
}

/// Waits until the program is executed. The driver's end of the socket is watched: without it nobody wants the run.
fn await_program(watching: &Watching, driver: &OwnedFd) -> Result<Option<crate::root::Terminal>> {
    let mut executing = None;
    loop {
        let mut fds = [
            PollFd::new(&watching.0, PollFlags::IN),
            PollFd::new(driver, PollFlags::RDHUP),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.at(Stage::Prepare, || "poll")?,
        };
        if !fds[1].revents().is_empty() {
            return Err(Failure::new(Stage::Prepare, "the driver is gone"));
        }
        match watching
            .receive()
            .at(Stage::Prepare, || "the container's first process")?
        {
            Progress::Executing(terminal) => executing = Some(terminal),
            Progress::Failed(failure) => return Err(failure),
            Progress::Closed => return executing.ok_or_else(container::died),
        }
    }
}

/// Asks the kernel to spare the shim when memory is short, where that is permitted.
fn spare_from_oom() {
    let file = OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
    let _ = file.and_then(|mut file| file.write_all(b"-999"));
}
