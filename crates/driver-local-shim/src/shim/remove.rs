//! Removing what belongs to the ids of a user namespace: the driver, who is not root, may not.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{RemoveTask, Stage, remove_all};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::{At, Result};
use crate::run::tell_end;
use crate::userns;

/// Removes it, and tells.
pub(crate) fn remove(task: &RemoveTask, driver: &OwnedFd) -> ExitCode {
    tell_end(driver, removed(task))
}

fn removed(task: &RemoveTask) -> Result<()> {
    userns::enter(&task.user)?;
    let RemoveTask { directory, name, .. } = task;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(CWD, directory, flags, Mode::empty()).at(Stage::Root, || directory.clone())?;
    remove_all(parent, name.as_ref()).at(Stage::Root, || format!("removing {directory}/{name}"))
}
