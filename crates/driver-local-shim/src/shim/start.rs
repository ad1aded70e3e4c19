//! The first steps of the shim: on guard against where it came from, then its task.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{Report, Stage, Task, decode};
use nix::sys::signal::SigSet;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid, umask};

use crate::{exec, hold, remove, run, sys};

pub(crate) fn main() -> ExitCode {
    // The exec guard, which an exec's process becomes, starts its second half from this very program.
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == "child") {
        return driver_exec_guard::guard::main(arguments);
    }
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

fn take_task(driver: OwnedFd) -> ExitCode {
    let task = driver
        .try_clone()
        .and_then(|driver| decode(&mut File::from(driver)));
    match task {
        Ok(Task::Run(task)) => run::run(*task, driver),
        Ok(Task::Exec(task)) => exec::exec(&task, driver),
        Ok(Task::Hold(task)) => hold::hold(&task, &driver),
        Ok(Task::Remove(task)) => remove::remove(&task, &driver),
        Err(error) => {
            let report = Report::Failed {
                stage: Stage::Prepare,
                exit_code: None,
                errno: error.raw_os_error(),
                message: format!("the task: {error}"),
            };
            let _ = run::tell(&driver, &report);
            ExitCode::FAILURE
        }
    }
}
