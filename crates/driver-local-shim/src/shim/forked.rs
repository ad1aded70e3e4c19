//! A first process that makes the container's root while the shim and the driver make the rest, which it is then equipped with.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::{Stage, decode, encode};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cgroups::Joinable;
use crate::container::{Equipment, First, namespace_flags};
use crate::failure::{At, Failure, Result};
use crate::process::Stdio;
use crate::status::descriptors;
use crate::sys::{self, Child, Fork};

/// What the kernel lets go with a message.
pub(crate) const MOST: usize = 253;

/// A process whose program does not run yet. Dropped, it is ended.
pub(crate) struct Unbegun(Option<Child>);

/// The shim's side.
pub(crate) struct Forked {
    process: Unbegun,
    pub(crate) socket: OwnedFd,
}

/// How many of the descriptors of its equipment are held streams, and how many are cgroups to join, if there are.
type Counts = (u8, Option<u8>);

impl Forked {
    /// Forks a process into a cgroup of version 2, if one is given, which is `begin` with its end of the socket.
    pub(crate) fn make(
        namespaces: i32,
        cgroup: Option<BorrowedFd<'_>>,
        begin: impl FnOnce(OwnedFd),
    ) -> Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .at(Stage::Prepare, || "a socket")?;
        match sys::fork(namespaces, cgroup).at(Stage::Namespaces, || "the container's namespaces")? {
            Fork::Child => {
                begin(theirs);
                sys::end(1)
            }
            Fork::Parent(child) => Ok(Self {
                process: child.into(),
                socket: ours,
            }),
        }
    }

    /// Forks one that makes this container.
    pub(crate) fn of(first: First<'_>) -> Result<Self> {
        let namespaces = namespace_flags(&first.task.sandbox).bits();
        Self::make(namespaces, None, |shim| {
            let closed = first.close_all_but(&[shim.as_fd()]);
            first.run(|| closed.and_then(|()| receive_equipment(&shim)))
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Lets it start the program.
    pub(crate) fn equip(self, equipment: &Equipment) -> Result<Unbegun> {
        let cgroups = equipment.cgroups.as_ref();
        let counts: Counts = (
            equipment.held.len() as u8,
            cgroups.map(|cgroups| cgroups.files.len() as u8),
        );
        send(&self.socket, &counts, &equipment.descriptors())?;
        Ok(self.process)
    }
}

impl From<Child> for Unbegun {
    fn from(child: Child) -> Self {
        Self(Some(child))
    }
}

impl Deref for Unbegun {
    type Target = Child;

    fn deref(&self) -> &Child {
        match &self.0 {
            Some(child) => child,
            None => unreachable!("only `keep` takes it"),
        }
    }
}

impl Unbegun {
    /// Its program runs: nobody ends it.
    pub(crate) fn keep(mut self) -> Child {
        match self.0.take() {
            Some(child) => child,
            None => unreachable!("`keep` takes it once"),
        }
    }
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            child.kill();
            child.wait();
        }
    }
}

fn gone() -> Failure {
    Failure::new(Stage::Prepare, "the container's first process has ended")
}

/// The process's side.
pub(crate) fn receive_equipment(shim: &OwnedFd) -> Result<Equipment> {
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
pub(crate) fn send<T: Serialize>(socket: &OwnedFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        let message = format!("{} descriptors are more than a container can have", fds.len());
        return Err(Failure::new(Stage::Prepare, message));
    }
    let bytes = [IoSlice::new(&[0])];
    let sent = sendmsg(socket, &bytes, &mut ancillary, SendFlags::NOSIGNAL).map_err(io::Error::from);
    sent.and_then(|_| File::from(socket.try_clone()?).write_all(&encode(message)))
        .at(Stage::Prepare, || "the container's first process")
}

pub(crate) fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> io::Result<(T, std::vec::IntoIter<OwnedFd>)> {
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
