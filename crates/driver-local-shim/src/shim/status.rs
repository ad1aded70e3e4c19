//! What a starting container tells the shim: one packet a report, over a socket that closes on exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use driver_local_shim::{Report, Stage, decode, encode};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::failure::{At, Failure, Result};
use crate::root::Terminal;
use crate::sys;

/// The longest message in a report.
const MAX_MESSAGE: usize = 4000;

/// The end of the container.
pub(crate) struct Starting(pub(crate) OwnedFd);

/// One that no process has: it waits in a socket for who takes it.
pub(crate) struct Passed(OwnedFd);

/// The end of the shim.
pub(crate) struct Watching(pub(crate) OwnedFd);

/// What arrived.
pub(crate) enum Progress {
    /// Everything is made, and the program is about to be executed.
    Executing(Option<Terminal>),
    /// It failed.
    Failed(Failure),
    /// All processes of the container have closed their end: by executing the program, or by dying.
    Closed,
}

/// A new pair.
pub(crate) fn channel() -> io::Result<(Watching, Starting)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Watching(ours), Starting(theirs)))
}

impl Starting {
    /// Tells that the program is about to be executed, and hands over the terminal.
    ///
    /// # Errors
    ///
    /// The shim is dead: nobody would watch the program.
    pub(crate) fn executing(&self, terminal: Option<&Terminal>) -> Result<()> {
        let fds = terminal.map(|terminal| [terminal.master.as_fd(), terminal.slave.as_fd()]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if let Some(fds) = &fds {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let packet = encode(&Report::Ready);
        match sendmsg(
            &self.0,
            &[IoSlice::new(&packet)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::new(Stage::Prepare, format!("the shim is gone: {error}"))),
        }
    }

    /// Gives it away to the one process that takes it, which may be a child that this one cannot give anything else to alone.
    pub(crate) fn pass(self) -> std::result::Result<Passed, (Self, Failure)> {
        let pass = || -> rustix::io::Result<Passed> {
            let (near, far) = socketpair(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )?;
            let own = [self.0.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&own));
            sendmsg(&near, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
            Ok(Passed(far))
        };
        let passed = pass().at(Stage::Exec, || "the status of the start");
        passed.map_err(|failure| (self, failure))
    }

    /// Waits for leave to go on.
    pub(crate) fn await_leave(&self) -> Result<()> {
        match rustix::net::recv(&self.0, &mut [0], RecvFlags::empty()) {
            Ok((1, _)) => Ok(()),
            _ => Err(Failure::new(Stage::Namespaces, "the shim is gone")),
        }
    }

    /// Tells of a failure, and ends this process.
    pub(crate) fn fail(&self, mut failure: Failure) -> ! {
        let cut = failure.message.floor_char_boundary(MAX_MESSAGE);
        failure.message.truncate(cut);
        // A shim that is gone does not matter any more.
        let _ = rustix::net::send(&self.0, &encode(&Report::from(failure)), SendFlags::NOSIGNAL);
        sys::end(1)
    }
}

impl Passed {
    /// Takes it. Without memory for that this process ends, which the shim hears as well.
    pub(crate) fn take(&self) -> Starting {
        self.receive().unwrap_or_else(|_| sys::end(1))
    }

    fn receive(&self) -> io::Result<Starting> {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut byte)];
        recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        descriptors(&mut ancillary)
            .next()
            .map(Starting)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The descriptors that came with a message.
pub(crate) fn descriptors<'a>(
    ancillary: &'a mut RecvAncillaryBuffer<'_>,
) -> impl Iterator<Item = OwnedFd> + 'a {
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    rights.flatten()
}

impl Watching {
    /// Lets a process go on that waits for it.
    pub(crate) fn give_leave(&self) -> Result<()> {
        let sent = rustix::net::send(&self.0, &[1], SendFlags::NOSIGNAL);
        sent.map(drop)
            .at(Stage::Namespaces, || "the container's first process")
    }

    /// Why a process has ended that nothing can be given to any more, if it has told.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self.receive() {
            Ok(Progress::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    /// The next packet; waits for it.
    pub(crate) fn receive(&self) -> io::Result<Progress> {
        let mut bytes = vec![0; 2 * MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
        let mut fds = descriptors(&mut ancillary);
        if received == 0 {
            return Ok(Progress::Closed);
        }
        match decode(&mut &bytes[..received])? {
            Report::Ready => {
                let terminal = fds.next().zip(fds.next());
                Ok(Progress::Executing(
                    terminal.map(|(master, slave)| Terminal { master, slave }),
                ))
            }
            Report::Failed {
                stage,
                exit_code,
                errno,
                message,
            } => Ok(Progress::Failed(Failure {
                stage,
                exit_code,
                errno,
                message,
            })),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
