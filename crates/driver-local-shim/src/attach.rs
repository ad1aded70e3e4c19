//! The client of `shim.sock`, by which a running container's stdin or terminal is reached.
//!
//! One request a connection: two bytes, the version of the protocol and what is asked. The answer is one byte, with a
//! descriptor (`SCM_RIGHTS`) where one was asked for. The socket is for the user of the shim and for root.

use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// The name of the socket in the container's directory.
pub const SOCKET: &str = "shim.sock";

const VERSION: u8 = 1;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The writing end of stdin's pipe, or the terminal.
    Attach = 1,
    /// The end of stdin: the shim lets go of its end; those who attached must as well. On a terminal it is the
    /// character for the end of transmission (^D).
    CloseStdin = 2,
}

/// What the shim answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done; with [`Request::Attach`] a descriptor comes along.
    Done = 0,
    /// The container has no stdin, or it is closed.
    NoStdin = 1,
    /// A request of another version.
    Unknown = 2,
}

impl Request {
    /// The length of a request on the wire.
    pub const BYTES: usize = 2;

    /// Its form on the wire.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        [VERSION, self as u8]
    }

    /// From the wire; `None` for one of another version.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        [Self::Attach, Self::CloseStdin]
            .into_iter()
            .find(|request| request.to_bytes() == bytes)
    }
}

/// Asks the shim of the container in `directory` for the writing end of its stdin, or for its terminal. Of a terminal only
/// the shim reads; its size can be set. Blocking; takes no longer than the shim needs to answer.
///
/// # Errors
///
/// `NotFound` or `ConnectionRefused` where no shim runs, `BrokenPipe` where the container has no stdin or it is closed.
pub fn attach(directory: &Path) -> io::Result<OwnedFd> {
    let mut bytes = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let shim = ask(directory, Request::Attach)?;
    let received = recvmsg(
        &shim,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    check(&bytes[..received.bytes])?;
    fds.next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the shim sent no descriptor"))
}

/// Tells the shim of the container in `directory` that stdin has ended. To close it again is not an error.
///
/// # Errors
///
/// Those of [`attach`].
pub fn close_stdin(directory: &Path) -> io::Result<()> {
    let shim = ask(directory, Request::CloseStdin)?;
    let mut bytes = [0];
    let (received, _) = rustix::net::recv(&shim, &mut bytes, RecvFlags::empty())?;
    match check(&bytes[..received]) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn ask(directory: &Path, request: Request) -> io::Result<UnixStream> {
    // The path of a socket may have 107 bytes only.
    let directory = std::fs::File::open(directory)?;
    let mut shim = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?;
    shim.write_all(&request.to_bytes())?;
    Ok(shim)
}

fn check(answer: &[u8]) -> io::Result<()> {
    let is = |wanted: Answer| answer == [wanted as u8];
    match answer {
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if is(Answer::Done) => Ok(()),
        _ if is(Answer::NoStdin) => {
            let message = "the container has no stdin, or it is closed";
            Err(io::Error::new(io::ErrorKind::BrokenPipe, message))
        }
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a shim of another version",
        )),
    }
}
