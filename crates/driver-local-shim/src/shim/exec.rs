//! Running a process in a container: joining it, then becoming the exec guard.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use driver_exec_guard::guard::{Start, Streams, supervise};
use driver_local_shim::{ExecTarget, ExecTask, JoinTask, Process, Report, Rights, Stage, Task};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::cgroups::Joinable;
use crate::clock::start_time;
use crate::container::leave_keyring;
use crate::failure::{At, Failure, Result};
use crate::process::{self, Ids};
use crate::run::tell;
use crate::start;
use crate::sys::{self, Child, Fork};

/// Runs a process in a container to its end.
pub(crate) fn exec(task: &ExecTask, driver: OwnedFd) -> ExitCode {
    match Joined::join(&task.target) {
        Ok(container) => exec_in(container, task, driver),
        Err(failure) => refuse(&driver, failure),
    }
}

/// Likewise, with all done ahead that no exec with these rights changes. What fails ahead fails once more, with its reason,
/// for the exec.
pub(crate) fn exec_ahead(join: &JoinTask, driver: OwnedFd) -> ExitCode {
    let Ok(container) = Joined::join(&join.target) else {
        return ExitCode::FAILURE;
    };
    if container.cgroups.directory().is_some() {
        // The fork is what joins a cgroup of version 2, where a process that waits would be one of the container's pids.
        return match container.await_exec(join, &driver) {
            Some(task) => exec_in(container, &task, driver),
            None => ExitCode::SUCCESS,
        };
    }
    match container.fork() {
        Ok((Fork::Child, container)) => match container.guard_ahead(join, &driver) {
            Some((task, ids)) => become_guard(&task, ids),
            None => ExitCode::SUCCESS,
        },
        Ok((Fork::Parent(child), _)) => follow(&child, driver),
        Err(_) => ExitCode::FAILURE,
    }
}

fn exec_in(container: Joined, task: &ExecTask, driver: OwnedFd) -> ExitCode {
    match container.fork() {
        Ok((Fork::Child, container)) => match container.guard(&task.process, &driver) {
            Ok(ids) => become_guard(task, ids),
            Err(failure) => refuse(&driver, failure),
        },
        Ok((Fork::Parent(child), _)) => follow(&child, driver),
        Err(failure) => refuse(&driver, failure),
    }
}

fn refuse(driver: &OwnedFd, failure: Failure) -> ExitCode {
    let _ = tell(driver, &failure.into());
    ExitCode::FAILURE
}

/// Waits for the end of the guard. Only that holds the driver's socket from here on: it ends when the guard does.
fn follow(guard: &Child, driver: OwnedFd) -> ExitCode {
    drop(driver);
    let code = guard.wait().and_then(|status| status.exit_status());
    code.map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8))
}

fn become_guard(task: &ExecTask, ids: Ids) -> ExitCode {
    let process = &task.process;
    let guard = task.guard_arguments.iter().map(String::as_str);
    let program = process.argv.iter().map(String::as_str);
    let arguments = guard.chain(["--"]).chain(program).map(OsString::from);
    supervise(arguments, &Program { process, ids })
}

/// A container whose namespaces this process has joined, but for those that a child enters after the fork.
struct Joined {
    /// The container's first process.
    first: OwnedFd,
    cgroups: Joinable,
}

impl Joined {
    fn join(target: &ExecTarget) -> Result<Self> {
        let first = find(target)?;
        let cgroups = Joinable::open(&target.cgroups)?;
        let mut namespaces = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::PROCESS_ID;
        namespaces.set(ThreadNameSpaceType::USER, target.user_namespace);
        move_into(&first, namespaces)?;
        Ok(Self { first, cgroups })
    }

    /// Forks: only a child is in the pid namespace. This process stays out of the cgroups, and costs the container no pid.
    fn fork(self) -> Result<(Fork, Self)> {
        let forked = sys::fork(0, self.cgroups.directory());
        let forked = forked.at(Stage::Namespaces, || "a process in the container")?;
        Ok((forked, self))
    }

    /// In the child: takes on all that the process is to have; tells that it is ready.
    fn guard(self, process: &Process, driver: &OwnedFd) -> Result<Ids> {
        // The cgroups first: with `nsdelegate`, as systemd mounts version 2, nobody comes into a cgroup namespace from a
        // cgroup outside of it.
        self.cgroups.join()?;
        enter_cgroup_namespace(self.first)?;
        drop(self.cgroups);
        let ids = confine(&process.rights, driver, &[], Some(&process.working_dir))?;
        tell(driver, &Report::Ready).at(Stage::Prepare, || "the driver is gone")?;
        Ok(ids)
    }

    /// In the child, ahead of the exec. Until that comes, the cgroups, which are of version 1, do without this process: it is
    /// none of the container's pids, nor frozen with it.
    fn guard_ahead(self, join: &JoinTask, driver: &OwnedFd) -> Option<(ExecTask, Ids)> {
        enter_cgroup_namespace(self.first).ok()?;
        let ids = confine(&join.rights, driver, &self.cgroups.files, None).ok()?;
        let task = next_exec(join, driver)?;
        // The container's files may say something else by now.
        let same = process::identify(&join.rights).is_ok_and(|now| now == ids);
        // As the user: what only root may enter is for another process.
        let ready = same && process::enter_working_dir(&task.process.working_dir).is_ok();
        if !ready {
            return None;
        }
        self.cgroups.join().ok()?;
        tell(driver, &Report::Ready).ok()?;
        Some((task, ids))
    }

    /// Waits for the exec, or for the end of the container.
    fn await_exec(&self, join: &JoinTask, driver: &OwnedFd) -> Option<ExecTask> {
        let mut fds = [
            PollFd::new(driver, PollFlags::IN),
            PollFd::new(&self.first, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).ok()?;
        fds[1].revents().is_empty().then(|| next_exec(join, driver))?
    }
}

/// The exec that follows, if it can be served.
fn next_exec(join: &JoinTask, driver: &OwnedFd) -> Option<ExecTask> {
    match start::next(driver) {
        Ok(Task::Exec(task)) if task.joining() == *join => Some(*task),
        _ => None,
    }
}

fn move_into(first: &OwnedFd, namespaces: ThreadNameSpaceType) -> Result<()> {
    move_into_thread_name_spaces(first.as_fd(), namespaces)
        .at(Stage::Namespaces, || "joining the container's namespaces")
}

fn enter_cgroup_namespace(first: OwnedFd) -> Result<()> {
    move_into(&first, ThreadNameSpaceType::CONTROL_GROUP)
}

/// Holds on to the container's first process, if it is still that one.
fn find(target: &ExecTarget) -> Result<OwnedFd> {
    let gone = || {
        Failure::new(
            Stage::Namespaces,
            format!("the container's process {} has ended", target.init_pid),
        )
    };
    let pid = Pid::from_raw(target.init_pid).ok_or_else(gone)?;
    let first = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    // After the descriptor was opened: as long as the process is this one, so is the descriptor.
    match start_time(pid) {
        Ok(time) if time == target.init_start_time => Ok(first),
        _ => Err(gone()),
    }
}

/// Takes on the rights, and the driver's socket as stdin and stdout; closes all but this and `kept`.
fn confine(rights: &Rights, driver: &OwnedFd, kept: &[OwnedFd], working_dir: Option<&str>) -> Result<Ids> {
    leave_keyring()?;
    let ids = process::identify(rights)?;
    rustix::stdio::dup2_stdin(driver).at(Stage::Prepare, || "the guard's stdin")?;
    rustix::stdio::dup2_stdout(driver).at(Stage::Prepare, || "the guard's stdout")?;
    let kept: Vec<_> = kept.iter().chain([driver]).map(AsFd::as_fd).collect();
    sys::close_from(3, &kept).at(Stage::Prepare, || "closing descriptors")?;
    let bounds = process::bound(rights)?;
    if let Some(directory) = working_dir {
        process::enter_working_dir(directory)?;
    }
    process::confine(bounds, &ids)?;
    Ok(ids)
}

/// The program of an exec, whose rights this process has already.
struct Program<'a> {
    process: &'a Process,
    ids: Ids,
}

impl Start for Program<'_> {
    fn start(&self, _: &[OsString], terminal: bool, streams: Streams) -> io::Result<Pid> {
        sys::fork_to_execute(|| self.run(terminal, &streams))
    }
}

impl Program<'_> {
    fn run(&self, terminal: bool, streams: &Streams) -> ! {
        let prepare = || -> io::Result<()> {
            setsid()?;
            rustix::stdio::dup2_stdin(&streams.stdin)?;
            rustix::stdio::dup2_stdout(&streams.stdout)?;
            rustix::stdio::dup2_stderr(&streams.stderr)?;
            if terminal {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
            sys::close_from(3, &[])
        };
        let failure = match prepare() {
            Ok(()) => process::execute(self.process, &self.ids),
            Err(error) => Failure::new(Stage::Exec, error.to_string()),
        };
        eprintln!("{}", failure.message);
        sys::end(failure.exit_code.unwrap_or(126))
    }
}
