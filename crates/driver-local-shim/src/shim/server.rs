//! `shim.sock`: hands out stdin or the terminal. The protocol stands in the library (`attach.rs`).

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use driver_local_shim::{Answer, Request};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, accept_with, recv, sendmsg, sockopt,
};
use rustix::process::geteuid;

use crate::streams::Ours;

/// Clients that may be connected and not have asked yet.
const MAX_CLIENTS: usize = 16;

/// The listening socket and who is connected.
pub(crate) struct Server {
    listener: OwnedFd,
    clients: Vec<OwnedFd>,
}

impl Server {
    pub(crate) fn new(listener: OwnedFd) -> Self {
        Self {
            listener,
            clients: Vec::new(),
        }
    }

    /// What to poll for reading.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // A full house is not polled for more.
        let listener = (self.clients.len() < MAX_CLIENTS).then_some(&self.listener);
        listener.into_iter().chain(&self.clients).map(AsFd::as_fd)
    }

    /// Answers who has asked. Nobody is waited for.
    pub(crate) fn serve(&mut self, streams: &mut Ours) {
        self.clients.retain(|client| {
            let mut request = [0; Request::BYTES];
            match recv(client, &mut request, rustix::net::RecvFlags::empty()) {
                Err(rustix::io::Errno::AGAIN) => true,
                Ok((Request::BYTES, _)) => {
                    answer(client, Request::from_bytes(request), streams);
                    false
                }
                _ => false,
            }
        });
        while self.clients.len() < MAX_CLIENTS
            && let Ok(client) = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
        {
            if is_allowed(&client) {
                self.clients.push(client);
            }
        }
    }
}

/// The user of this program, or root.
fn is_allowed(client: &OwnedFd) -> bool {
    sockopt::socket_peercred(client).is_ok_and(|peer| peer.uid == geteuid() || peer.uid.is_root())
}

fn answer(client: &OwnedFd, request: Option<Request>, streams: &mut Ours) {
    let (answer, fd) = match request {
        Some(Request::Attach) => match input(streams) {
            Some(fd) => (Answer::Done, Some(fd)),
            None => (Answer::NoStdin, None),
        },
        Some(Request::CloseStdin) => (close_stdin(streams), None),
        None => (Answer::Unknown, None),
    };
    let fds = fd.as_ref().map(|fd| [fd.as_fd()]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if let Some(fds) = &fds {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    // A client that did not wait for the answer does not want it.
    let _ = sendmsg(
        client,
        &[IoSlice::new(&[answer as u8])],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    );
}

/// The terminal, or an end of the pipe of its own: what one client sets on it does not touch the others.
fn input(streams: &Ours) -> Option<OwnedFd> {
    if let Some(terminal) = &streams.terminal {
        return terminal.master.try_clone().ok();
    }
    let path = format!("/proc/self/fd/{}", streams.stdin.as_ref()?.as_raw_fd());
    openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Lets go of stdin: it ends when the clients have let go of it as well. On a terminal the end is a character.
fn close_stdin(streams: &mut Ours) -> Answer {
    if let Some(terminal) = &streams.terminal {
        const END_OF_TRANSMISSION: [u8; 1] = [4];
        let Ok(mut master) = terminal.master.try_clone().map(std::fs::File::from) else {
            return Answer::NoStdin;
        };
        return if master.write_all(&END_OF_TRANSMISSION).is_ok() {
            Answer::Done
        } else {
            Answer::NoStdin
        };
    }
    match streams.stdin.take() {
        Some(_) => Answer::Done,
        None => Answer::NoStdin,
    }
}
