//! Running a process in a container: joining it, then becoming the exec guard.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use driver_exec_guard::guard::{Start, Streams};
use driver_local_shim::{ExecTask, Process, Report, Stage};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::cgroups::Joinable;
use crate::clock::start_time;
use crate::container::leave_keyring;
use crate::failure::{At, Failure, Result};
use crate::process::{self, Ids};
use crate::run::tell;
use crate::sys::{self, Fork};

/// Runs a process in a container to its end.
pub(crate) fn exec(task: &ExecTask, driver: OwnedFd) -> ExitCode {
    let child = match join(task) {
        Ok((Fork::Child, container)) => return become_guard(task, &driver, &container),
        Ok((Fork::Parent(child), _)) => child,
        Err(failure) => {
            let _ = tell(&driver, &failure.into());
            return ExitCode::FAILURE;
        }
    };
    // Only the guard holds it now: it ends when the guard does.
    drop(driver);
    let code = child.wait().and_then(|status| status.exit_status());
    code.map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8))
}

/// What a process that joins a container enters after the fork.
struct Joining {
    /// The container's first process.
    container: OwnedFd,
    cgroups: Joinable,
}

impl Joining {
    /// The cgroups first: with `nsdelegate`, as systemd mounts version 2, nobody comes into a cgroup namespace from a cgroup
    /// outside of it.
    fn enter(&self) -> Result<()> {
        self.cgroups.join()?;
        move_into(&self.container, ThreadNameSpaceType::CONTROL_GROUP)
    }
}

/// Joins the container's namespaces and forks: only a child is in the pid namespace. This process stays out of the
/// cgroups, and costs the container no pid.
fn join(task: &ExecTask) -> Result<(Fork, Joining)> {
    let container = find(task)?;
    let cgroups = Joinable::open(&task.cgroups)?;
    let mut namespaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::PROCESS_ID;
    namespaces.set(ThreadNameSpaceType::USER, task.user_namespace);
    move_into(&container, namespaces)?;
    let fork = sys::fork(0, cgroups.directory()).at(Stage::Namespaces, || "a process in the container")?;
    Ok((fork, Joining { container, cgroups }))
}

fn move_into(container: &OwnedFd, namespaces: ThreadNameSpaceType) -> Result<()> {
    move_into_thread_name_spaces(container.as_fd(), namespaces)
        .at(Stage::Namespaces, || "joining the container's namespaces")
}

/// Holds on to the container's first process, if it is still that one.
fn find(task: &ExecTask) -> Result<OwnedFd> {
    let gone = || {
        Failure::new(
            Stage::Namespaces,
            format!("the container's process {} has ended", task.init_pid),
        )
    };
    let pid = Pid::from_raw(task.init_pid).ok_or_else(gone)?;
    let container = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    // After the descriptor was opened: as long as the process is this one, so is the descriptor.
    match start_time(pid) {
        Ok(time) if time == task.init_start_time => Ok(container),
        _ => Err(gone()),
    }
}

fn become_guard(task: &ExecTask, driver: &OwnedFd, container: &Joining) -> ExitCode {
    match confine(task, driver, container) {
        Ok(ids) => {
            let guard = task.guard_arguments.iter().map(String::as_str);
            let program = task.process.argv.iter().map(String::as_str);
            let arguments = guard.chain(["--"]).chain(program).map(OsString::from);
            let process = &task.process;
            driver_exec_guard::guard::supervise(arguments, &Program { process, ids })
        }
        Err(failure) => {
            let _ = tell(driver, &failure.into());
            ExitCode::FAILURE
        }
    }
}

/// Takes on the rights of the process, and the driver's socket as stdin and stdout; tells that it is ready.
fn confine(task: &ExecTask, driver: &OwnedFd, container: &Joining) -> Result<Ids> {
    container.enter()?;
    leave_keyring()?;
    let ids = process::identify(&task.process)?;
    rustix::stdio::dup2_stdin(driver).at(Stage::Prepare, || "the guard's stdin")?;
    rustix::stdio::dup2_stdout(driver).at(Stage::Prepare, || "the guard's stdout")?;
    sys::close_from(3, &[driver.as_fd()]).at(Stage::Prepare, || "closing descriptors")?;
    process::confine(&task.process, &ids)?;
    tell(driver, &Report::Ready).at(Stage::Prepare, || "the driver is gone")?;
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
