//! The first steps of the shim: on guard against where it came from, then its task.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{Report, Stage, Task, decode};
use nix::sys::signal::SigSet;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid, umask};
use rustix::thread::set_name;

use crate::prepared::Prepared;
use crate::{adopt, exec, files, fork_server, hold, quota, remove, run, sys};

pub(crate) fn main() -> ExitCode {
    match harden() {
        Ok(driver) => take_task(driver),
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
    // that is started unblocks them again.
    SigSet::all().thread_block()?;
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
pub(crate) fn take_task(driver: OwnedFd) -> ExitCode {
    match next(&driver) {
        Ok(Task::Run(task)) => run::run(*task, driver, None),
        Ok(Task::Prepare { shm_bytes }) => prepare(driver, shm_bytes),
        Ok(Task::ForkServer) => fork_server::serve(driver),
        Ok(Task::Exec(task)) => exec::exec(&task, driver),
        Ok(Task::Adopt(task)) => adopt::adopt(*task, driver),
        Ok(Task::Hold(task)) => hold::hold(&task, &driver),
        Ok(Task::Remove(task)) => remove::remove(&task, &driver),
        Ok(Task::Files(task)) => files::work(&task, &driver),
        Ok(Task::Quota(task)) => quota::quota(&task, &driver),
        Err(error) => refuse(&driver, &error),
    }
}

fn next(driver: &OwnedFd) -> io::Result<Task> {
    decode(&mut File::from(driver.try_clone()?))
}

/// Waits for a run with a first process.
fn prepare(driver: OwnedFd, shm_bytes: u64) -> ExitCode {
    // What cannot be made now fails, with its reason, when it is made for the run.
    let prepared = Prepared::make(shm_bytes).ok();
    match next(&driver) {
        Ok(Task::Run(task)) => run::run(*task, driver, prepared),
        Ok(_) => refuse(&driver, &io::ErrorKind::InvalidInput.into()),
        // The driver is gone, or has no use for it.
        Err(_) => ExitCode::SUCCESS,
    }
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
