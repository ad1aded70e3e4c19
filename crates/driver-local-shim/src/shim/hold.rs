//! Holding the root of a container that does not run, so that its files can be reached.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{HoldTask, Report};

use crate::failure::Result;
use crate::root::{Bare, Root};
use crate::run::tell;
use crate::userns;

/// Makes the root, enters it and stays until the driver closes the socket. `/proc/PID/root` of this process is the way in.
pub(crate) fn hold(task: &HoldTask, driver: &OwnedFd, bare: Option<Bare>) -> ExitCode {
    let report = match enter(task, bare) {
        Ok(()) => Report::Holding {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
        },
        Err(failure) => failure.into(),
    };
    let ready = matches!(report, Report::Holding { .. });
    let told = tell(driver, &report).is_ok();
    if !(ready && told) {
        return ExitCode::FAILURE;
    }
    // The driver says nothing more. Its end, in whatever way, is all there is to read.
    while matches!(
        rustix::io::read(driver, &mut [0; 64]),
        Ok(1..) | Err(rustix::io::Errno::INTR)
    ) {}
    ExitCode::SUCCESS
}

fn enter(task: &HoldTask, bare: Option<Bare>) -> Result<()> {
    let sandbox = &task.sandbox;
    if let Some(user) = &sandbox.user {
        // It leaves this process dumpable: a driver that is not root may only look into such. Nothing of the container
        // runs.
        userns::enter(user)?;
    }
    let root = Root::begin(bare, sandbox)?;
    root.add_empty_system()?;
    root.add_mounts(sandbox)?;
    root.enter()
}
