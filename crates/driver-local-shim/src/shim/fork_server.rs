//! Forking shims: a process that has this program in memory already becomes one faster than by executing it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::setsid;

use crate::root::Bare;
use crate::start;
use crate::sys::{self, Fork};

/// Forks a shim for each socket that arrives, until the driver is gone. The shims outlive this process.
pub(crate) fn serve(driver: OwnedFd) -> ExitCode {
    // Where there can be none, shims do without.
    let bare = Bare::make().ok();
    if sys::reap_children_unasked(true).is_err() {
        return ExitCode::FAILURE;
    }
    while let Ok(socket) = receive(&driver) {
        // Without memory for a process the socket is closed, and the driver hears that nobody took its task.
        if matches!(sys::fork(0, None), Ok(Fork::Child)) {
            drop(driver);
            return become_shim(socket, bare);
        }
    }
    ExitCode::SUCCESS
}

fn become_shim(socket: OwnedFd, bare: Option<Bare>) -> ExitCode {
    // It has children of its own to wait for.
    let _ = sys::reap_children_unasked(false);
    let _ = setsid();
    start::take_task(socket, bare)
}

/// The descriptor that comes with the next byte.
pub(crate) fn receive(driver: &OwnedFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        driver,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    sockets.next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
