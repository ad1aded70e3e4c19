//! A first process that waits in its namespaces for the container that it is to make.
//!
//! What can be made ahead is what no config changes: the namespaces, a loopback interface, /proc, /sys and /dev. Of the host's
//! mounts nothing is in it: what the container needs of them is made by the shim when it starts, from what is mounted then.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::{Cgroup, NetworkNamespace, RunTask, Stage, decode, encode};
use nix::sched::CloneFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cgroups::Joinable;
use crate::container::{Equipment, First, Made, leave_keyring};
use crate::failure::{At, Failure, Result};
use crate::loopback;
use crate::process::Stdio;
use crate::root::{Materials, Skeleton};
use crate::status::{Starting, descriptors};
use crate::sys::{self, Child, Fork};

/// What the kernel lets go with a message.
const MOST: usize = 253;

/// As many mounts go to a first process, beside the status socket, a network and the layers.
const MOST_MOUNTS: usize = MOST - 3;

/// The shim's side. Dropped, the process is ended.
pub(crate) struct Prepared {
    child: Option<Child>,
    socket: OwnedFd,
    shm_bytes: u64,
}

/// What begins a container, with the status socket and perhaps a network: the task, and whether there is a network.
type Beginning<Task> = (Task, bool);

/// How many of the descriptors of its equipment are held streams, and how many are cgroups to join, if there are.
type Counts = (u8, Option<u8>);

impl Prepared {
    /// Forks the process.
    pub(crate) fn make(shm_bytes: u64, cgroups: &[Cgroup]) -> Result<Self> {
        let cgroups = Joinable::open(cgroups)?;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .at(Stage::Prepare, || "a socket")?;
        let flags = CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET;
        match sys::fork(flags.bits(), None).at(Stage::Namespaces, || "the container's namespaces")? {
            Fork::Child => wait(&theirs, shm_bytes, cgroups),
            Fork::Parent(child) => Ok(Self {
                child: Some(child),
                socket: ours,
                shm_bytes,
            }),
        }
    }

    /// Whether this is of use for a run, and ready. With version 2 a process must be made in its cgroup: to move it there
    /// waits for all processors.
    pub(crate) fn serves(&self, task: &RunTask) -> bool {
        let moves = |cgroup: &Cgroup| matches!(cgroup, Cgroup::V2(_));
        let sandbox = &task.sandbox;
        let fits = sandbox.network != NetworkNamespace::Host
            && sandbox.user.is_none()
            && sandbox.shm_bytes == self.shm_bytes
            && sandbox.mounts.len() <= MOST_MOUNTS
            && !task.cgroups.iter().any(moves);
        // It is ready soon, or has ended.
        fits && matches!(rustix::io::read(&self.socket, &mut [0]), Ok(1))
    }

    /// Lets the process make the container.
    pub(crate) fn begin(&self, task: &RunTask, status: &Starting, network: Option<&OwnedFd>) -> Result<()> {
        let materials = Materials::gather(&task.sandbox)?;
        let message: Beginning<&RunTask> = (task, network.is_some());
        let mut fds = vec![status.0.as_fd()];
        fds.extend(network.map(AsFd::as_fd));
        fds.extend(materials.descriptors());
        send(&self.socket, &message, &fds)
    }

    /// Lets it start the program.
    pub(crate) fn equip(mut self, equipment: Equipment) -> Result<Child> {
        let cgroups = equipment.cgroups.as_ref();
        let counts: Counts = (
            equipment.held.len() as u8,
            cgroups.map(|cgroups| cgroups.files.len() as u8),
        );
        send(&self.socket, &counts, &equipment.descriptors())?;
        self.child.take().ok_or_else(gone)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.kill();
            child.wait();
        }
    }
}

fn gone() -> Failure {
    Failure::new(Stage::Prepare, "the container's prepared process has ended")
}

/// The process's side.
fn wait(shim: &OwnedFd, shm_bytes: u64, cgroups: Joinable) -> ! {
    // What fails here is made for the run by another process, and fails there with its reason.
    let Ok(skeleton) = make_ahead(shim, shm_bytes, cgroups) else {
        std::process::exit(1)
    };
    let ready = rustix::io::write(shim, &[1]).is_ok();
    let begun = ready.then(|| receive::<Beginning<RunTask>>(shim).ok()).flatten();
    let Some(((task, has_network), mut fds)) = begun else {
        // The shim has ended, or has no use for this process.
        std::process::exit(0)
    };
    let Some(status) = fds.next() else {
        std::process::exit(1)
    };
    let network = has_network.then(|| fds.next()).flatten();
    let Some(materials) = Materials::of(fds) else {
        std::process::exit(1)
    };
    let first = First {
        task: &task,
        status: Starting(status),
        network,
        // It was made before the shim asked to be spared.
        oom_score_adj: None,
        made: Some(Made { skeleton, materials }),
    };
    first.run(|| receive_equipment(shim))
}

fn make_ahead(shim: &OwnedFd, shm_bytes: u64, cgroups: Joinable) -> Result<Skeleton> {
    let mut kept = vec![shim.as_fd()];
    kept.extend(cgroups.files.iter().map(AsFd::as_fd));
    sys::close_from(3, &kept).at(Stage::Prepare, || "closing the shim's descriptors")?;
    loopback::up().at(Stage::Namespaces, || "loopback interface")?;
    leave_keyring()?;
    let skeleton = Skeleton::enter(shm_bytes)?;
    // The last: the container is not charged for what was made ahead.
    cgroups.enter()?;
    Ok(skeleton)
}

fn receive_equipment(shim: &OwnedFd) -> Result<Equipment> {
    let ((held, cgroups), mut fds) = receive::<Counts>(shim).at(Stage::Prepare, || "the shim has ended")?;
    let mut next = || fds.next().ok_or_else(gone);
    Ok(Equipment {
        stdio: Stdio {
            stdin: next()?,
            stdout: next()?,
            stderr: next()?,
        },
        exit: next()?,
        held: (0..held).map(|_| next()).collect::<Result<_>>()?,
        cgroups: match cgroups {
            Some(cgroups) => Some(Joinable::of((0..cgroups).map(|_| next()).collect::<Result<_>>()?)),
            None => None,
        },
    })
}

/// Sends a message, behind a byte that descriptors go with.
fn send<T: Serialize>(socket: &OwnedFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        let message = format!("{} descriptors are more than a container can have", fds.len());
        return Err(Failure::new(Stage::Prepare, message));
    }
    let bytes = [IoSlice::new(&[0])];
    let sent = sendmsg(socket, &bytes, &mut ancillary, SendFlags::NOSIGNAL).map_err(io::Error::from);
    sent.and_then(|_| File::from(socket.try_clone()?).write_all(&encode(message)))
        .at(Stage::Prepare, || "the container's prepared process")
}

fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> io::Result<(T, std::vec::IntoIter<OwnedFd>)> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    if recvmsg(socket, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let fds: Vec<OwnedFd> = descriptors(&mut ancillary).collect();
    Ok((decode(&mut File::from(socket.try_clone()?))?, fds.into_iter()))
}
