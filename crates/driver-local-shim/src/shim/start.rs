//! The first steps of the shim: on guard against where it came from, then its task.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{Cgroup, Report, Stage, Task, decode};
use nix::sys::signal::SigSet;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid, umask};
use rustix::thread::set_name;

use crate::prepared::{Ahead, Prepared};
use crate::root::Bare;
use crate::{adopt, cgroups, exec, files, fork_server, hold, quota, remove, run, sys};

pub(crate) fn main() -> ExitCode {
    match harden() {
        Ok(driver) => take_task(driver, None),
        Err(error) => {
            eprintln!("shim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets go of all that was inherited, but for the socket on stdin.
fn harden() -> io::Result<OwnedFd> {
    // For `ps`: else it is the number of a descriptor.
    set_name(c"driver-shim")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    sys::close_from(3, &[])?;
    // Signals for the driver's terminal or process group are not for us; a write to nobody is an error, not an end. All
    // that is started unblocks them again, and has them as they are here: as no program has asked for them to be.
    SigSet::all().thread_block()?;
    sys::default_signals();
    // The driver may have made us the leader of a session.
    let _ = setsid();
    umask(Mode::from_raw_mode(0o077));
    rustix::process::chdir("/")?;
    let driver = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(driver)
}

/// Does what the driver asks for on this socket.
pub(crate) fn take_task(driver: OwnedFd, bare: Option<Bare>) -> ExitCode {
    let task = next(&driver);
    let makes_root = matches!(task, Ok(Task::Run(_) | Task::Prepare { .. } | Task::Hold(_)));
    let bare = bare.filter(|_| makes_root);
    match task {
        Ok(Task::Run(task)) => {
            let prepared = None;
            run::run(*task, driver, Ahead { prepared, bare })
        }
        Ok(Task::Prepare { shm_bytes, cgroups }) => prepare(driver, bare, shm_bytes, &cgroups),
        Ok(Task::ForkServer) => fork_server::serve(driver),
        Ok(Task::Exec(task)) => exec::exec(&task, driver),
        Ok(Task::Join(task)) => exec::exec_ahead(&task, driver),
        Ok(Task::Adopt(task)) => adopt::adopt(*task, driver),
        Ok(Task::Hold(task)) => hold::hold(&task, &driver, bare),
        Ok(Task::Remove(task)) => remove::remove(&task, &driver),
        Ok(Task::Files(task)) => files::work(&task, &driver),
        Ok(Task::Quota(task)) => quota::quota(&task, &driver),
        Err(error) => refuse(&driver, &error),
    }
}

pub(crate) fn next(driver: &OwnedFd) -> io::Result<Task> {
    decode(&mut File::from(driver.try_clone()?))
}

/// Waits for a run with a first process.
fn prepare(driver: OwnedFd, bare: Option<Bare>, shm_bytes: u64, groups: &[Cgroup]) -> ExitCode {
    // A server that forks shims has one for all of them.
    let bare = bare.or_else(|| Bare::make().ok());
    // What cannot be made now fails, with its reason, when it is made for the run.
    let make = |bare| Prepared::make(bare, shm_bytes, groups).ok();
    let prepared = bare.as_ref().and_then(make);
    let task = next(&driver);
    let ended = match task {
        Ok(Task::Run(task)) => {
            let ended = run::run(*task, driver, Ahead { prepared, bare });
            if ended == ExitCode::SUCCESS {
                // They were the container's.
                return ended;
            }
            ended
        }
        // The driver is gone, or has no use for it.
        other => {
            drop(prepared);
            other.map_or(ExitCode::SUCCESS, |_| {
                refuse(&driver, &io::ErrorKind::InvalidInput.into())
            })
        }
    };
    cgroups::remove(groups);
    ended
}

fn refuse(driver: &OwnedFd, error: &io::Error) -> ExitCode {
    let report = Report::Failed {
        stage: Stage::Prepare,
        exit_code: None,
        errno: error.raw_os_error(),
        message: format!("the task: {error}"),
    };
    let _ = run::tell(driver, &report);
    ExitCode::FAILURE
}
