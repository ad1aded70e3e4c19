//! The container's cgroups, as far as the shim has to do with them: joining, emptying, removing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use driver_local_shim::{Cgroup, Stage};
use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::{At, Result};

/// How long removing waits for the kernel to take the last processes out.
const PATIENCE: Duration = Duration::from_secs(5);

const TICK: Duration = Duration::from_millis(2);

/// The cgroups that a new process is to be in, opened while their paths can be seen.
#[derive(Default)]
pub(crate) struct Joinable {
    /// `tasks` files of version 1, which a process writes itself: the kernel need not stop the world for that.
    pub(crate) files: Vec<OwnedFd>,
    /// The directory of version 2, for the clone.
    directory: Option<OwnedFd>,
}

impl Joinable {
    pub(crate) fn open(cgroups: &[Cgroup]) -> Result<Self> {
        let mut joinable = Self::default();
        for cgroup in cgroups {
            match cgroup {
                Cgroup::V1(path) | Cgroup::Shared(path) => {
                    let tasks = format!("{path}/tasks");
                    let file = openat(CWD, &tasks, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
                    joinable.files.push(file.at(Stage::Cgroups, || tasks)?);
                }
                Cgroup::V2(path) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let directory = openat(CWD, path, flags, Mode::empty());
                    joinable.directory = Some(directory.at(Stage::Cgroups, || path.clone())?);
                }
            }
        }
        Ok(joinable)
    }

    /// Those of version 1 that another process has opened.
    pub(crate) fn of(files: Vec<OwnedFd>) -> Self {
        Self {
            files,
            directory: None,
        }
    }

    /// For the clone of the process.
    pub(crate) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    /// What runs in the container is charged to it from here on. Then the namespace, whose root is the cgroup that this
    /// process is in.
    pub(crate) fn enter(&self) -> Result<()> {
        self.join()?;
        unshare(CloneFlags::CLONE_NEWCGROUP).at(Stage::Namespaces, || "cgroup namespace")
    }

    /// Moves this process, which has one thread, into those of version 1.
    pub(crate) fn join(&self) -> Result<()> {
        for file in &self.files {
            rustix::io::write(file, b"0").at(Stage::Cgroups, || "joining a cgroup")?;
        }
        Ok(())
    }
}

/// Ends what is left in the cgroups and removes them; gives whether all are gone. What cannot be removed in time is left to the
/// driver.
pub(crate) fn remove(cgroups: &[Cgroup]) -> bool {
    let mut gone = true;
    for cgroup in cgroups {
        match cgroup {
            Cgroup::V1(path) => gone &= remove_directory(path).is_ok(),
            Cgroup::V2(path) => {
                // Before Linux 5.14 it is missing; the end of pid 1 has ended all of its namespace anyway.
                let _ = fs::write(format!("{path}/cgroup.kill"), "1");
                gone &= remove_directory(path).is_ok();
            }
            Cgroup::Shared(_) => {}
        }
    }
    gone
}

/// A process leaves its cgroup a moment after its parent could wait for it.
fn remove_directory(path: &str) -> io::Result<()> {
    let tries = PATIENCE.as_millis() / TICK.as_millis();
    for _ in 0..tries {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => await_change(path)?,
            other => return other,
        }
    }
    fs::remove_dir(path)
}

/// Waits until version 2 tells of a change in the cgroup; version 1 does not tell.
fn await_change(path: &str) -> io::Result<()> {
    let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
    match fs::File::open(format!("{path}/cgroup.events")) {
        Ok(events) => poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&tick))?,
        Err(_) => poll(&mut [], Some(&tick))?,
    };
    Ok(())
}
