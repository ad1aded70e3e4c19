//! A first process that waits in its namespaces for the container that it is to make.
//!
//! What can be made ahead is what no config changes: the namespaces, a loopback interface, /proc, /sys and /dev. Of the host's
//! mounts nothing is in it: what the container needs of them is made by the shim when it starts, from what is mounted then.

use std::os::fd::{AsFd, OwnedFd};

use driver_local_shim::{Cgroup, NetworkNamespace, RunTask, Stage};
use nix::sched::CloneFlags;

use crate::cgroups::Joinable;
use crate::container::{First, Made, NAMESPACES, leave_keyring};
use crate::failure::{At, Result};
use crate::forked::{Forked, MOST, receive, receive_equipment, send};
use crate::loopback;
use crate::root::{Bare, Materials, Skeleton};
use crate::status::Starting;
use crate::sys;

/// As many mounts go to a first process, beside the status socket, a network and the layers.
const MOST_MOUNTS: usize = MOST - 3;

/// What is there before a shim is told of its run.
pub(crate) struct Ahead {
    pub(crate) prepared: Option<Prepared>,
    pub(crate) bare: Option<Bare>,
}

/// The shim's side. Dropped, the process is ended.
pub(crate) struct Prepared {
    process: Forked,
    shm_bytes: u64,
    cgroups: Vec<Cgroup>,
}

/// What begins a container, with the status socket and perhaps a network: the task, and whether there is a network.
type Beginning<Task> = (Task, bool);

impl Prepared {
    /// Forks the process, which is in these cgroups from the beginning (version 2) or the end (version 1) of what it makes.
    pub(crate) fn make(bare: &Bare, shm_bytes: u64, cgroups: &[Cgroup]) -> Result<Self> {
        let joinable = Joinable::open(cgroups)?;
        let flags = NAMESPACES | CloneFlags::CLONE_NEWNET;
        let process = Forked::make(flags.bits(), joinable.directory(), |shim| {
            wait(&shim, bare, shm_bytes, &joinable);
        })?;
        Ok(Self {
            process,
            shm_bytes,
            cgroups: cgroups.to_vec(),
        })
    }

    /// Lets the process make the container, if this is of use for it and ready. With version 2 a process must be made in its
    /// cgroup: to move it there waits for all processors.
    pub(crate) fn begin(
        self,
        task: &RunTask,
        status: &Starting,
        network: Option<&OwnedFd>,
    ) -> Option<Forked> {
        let moves = |cgroup: &Cgroup| matches!(cgroup, Cgroup::V2(_)) && !self.cgroups.contains(cgroup);
        let sandbox = &task.sandbox;
        let fits = sandbox.network != NetworkNamespace::Host
            && sandbox.user.is_none()
            && sandbox.shm_bytes == self.shm_bytes
            && sandbox.mounts.len() <= MOST_MOUNTS
            && !task.cgroups.iter().any(moves);
        // It is ready soon, or has ended.
        let serves = fits && matches!(rustix::io::read(&self.process.socket, &mut [0]), Ok(1));
        // Where this fails another process is tried, or tells why.
        let materials = serves.then(|| Materials::gather(sandbox).ok()).flatten()?;
        let message: Beginning<&RunTask> = (task, network.is_some());
        let mut fds = vec![status.0.as_fd()];
        fds.extend(network.map(AsFd::as_fd));
        fds.extend(materials.descriptors());
        send(&self.process.socket, &message, &fds).ok()?;
        Some(self.process)
    }
}

/// The process's side. Comes back where nobody has a use for this process, or where it cannot be of use: what fails here is
/// made for the run by another, and fails there with its reason.
fn wait(shim: &OwnedFd, bare: &Bare, shm_bytes: u64, cgroups: &Joinable) {
    let Ok(skeleton) = make_ahead(shim, bare, shm_bytes, cgroups) else {
        return;
    };
    let ready = rustix::io::write(shim, &[1]).is_ok();
    let begun = ready.then(|| receive::<Beginning<RunTask>>(shim).ok()).flatten();
    let Some(((task, has_network), mut fds)) = begun else {
        return;
    };
    let Some(status) = fds.next() else { return };
    let network = has_network.then(|| fds.next()).flatten();
    let Some(materials) = Materials::of(fds) else {
        return;
    };
    let first = First {
        task: &task,
        status: Starting(status),
        network,
        bare: None,
        made: Some(Made { skeleton, materials }),
    };
    first.run(|| receive_equipment(shim))
}

fn make_ahead(shim: &OwnedFd, bare: &Bare, shm_bytes: u64, cgroups: &Joinable) -> Result<Skeleton> {
    let mut kept = vec![shim.as_fd(), bare.as_fd()];
    kept.extend(cgroups.files.iter().map(AsFd::as_fd));
    sys::close_from(3, &kept).at(Stage::Prepare, || "closing the shim's descriptors")?;
    loopback::up().at(Stage::Namespaces, || "loopback interface")?;
    leave_keyring()?;
    let skeleton = Skeleton::enter(bare, shm_bytes)?;
    // The last: with version 1 the container is not charged for what was made ahead.
    cgroups.enter()?;
    Ok(skeleton)
}
