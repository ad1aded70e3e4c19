//! Work on files that the users of rootless containers own: the driver has no right to them outside of their namespace, so
//! a shim does it inside of one with the same ids.

use std::io::{self, BufWriter, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use driver_local_shim::{FileTask, FileWork, RemoveTask, Report, Task, UserNamespace, decode, encode};
use driver_types::{DriverError, Result};

use crate::shim::{self, Shim};
use crate::tarball::failed;

/// The pieces in which a tar is written and read.
const PIECE: usize = 64 << 10;

/// Works with the ids of a user namespace.
#[derive(Clone, Debug)]
pub(crate) struct FileWorker {
    pub(crate) shim: Shim,
    pub(crate) user: UserNamespace,
}

/// A shim that waits for a tar.
#[derive(Debug)]
pub(crate) struct Unpacking {
    socket: UnixStream,
    tar: PipeWriter,
}

/// A shim that writes a tar. Dropping it ends the shim.
#[derive(Debug)]
pub(crate) struct Packing {
    socket: UnixStream,
    tar: PipeReader,
}

impl FileWorker {
    /// Removes what has this name in a directory. Blocks.
    ///
    /// # Errors
    ///
    /// What the shim was refused, or that it did not answer.
    pub(crate) fn remove(&self, directory: &Path, name: &str) -> io::Result<()> {
        let task = RemoveTask {
            user: self.user.clone(),
            directory: directory.to_string_lossy().into_owned(),
            name: name.to_owned(),
        };
        match self.shim.attempt(&Task::Remove(Box::new(task)), None)? {
            Report::Ready => Ok(()),
            other => Err(refused(other)),
        }
    }

    /// Begins to unpack below a root. Blocks.
    ///
    /// # Errors
    ///
    /// As of [`remove`](Self::remove).
    pub(crate) fn unpack(&self, root: impl AsFd, work: FileWork) -> io::Result<Unpacking> {
        let (theirs, tar) = io::pipe()?;
        let socket = self.begin(root, work, theirs.into())?;
        Ok(Unpacking { socket, tar })
    }

    /// Begins to pack what is below a root. Blocks.
    ///
    /// # Errors
    ///
    /// As of [`remove`](Self::remove).
    pub(crate) fn pack(&self, root: impl AsFd, work: FileWork) -> io::Result<Packing> {
        let (tar, theirs) = io::pipe()?;
        let socket = self.begin(root, work, theirs.into())?;
        Ok(Packing { socket, tar })
    }

    fn begin(&self, root: impl AsFd, work: FileWork, tar: OwnedFd) -> io::Result<UnixStream> {
        let task = FileTask {
            user: self.user.clone(),
            work,
        };
        let mut socket = self.shim.connect()?;
        socket.write_all(&encode(&Task::Files(Box::new(task))))?;
        shim::send_descriptor(&socket, root.as_fd())?;
        shim::send_descriptor(&socket, tar.as_fd())?;
        match decode(&mut socket)? {
            Report::Ready => Ok(socket),
            other => Err(refused(other)),
        }
    }
}

impl Unpacking {
    /// Unpacks a tar, and returns the bytes that the files of a layer have. Blocks.
    ///
    /// # Errors
    ///
    /// That of the tar's source, as it is; else what the shim was refused. In both cases the shim is done.
    pub(crate) fn feed(mut self, mut source: impl Read) -> Result<u64> {
        let mut buffer = vec![0; PIECE];
        let fed = loop {
            match source.read(&mut buffer) {
                Ok(0) => break Ok(()),
                // One that takes no more tells why, or needs no more.
                Ok(count) if self.tar.write_all(&buffer[..count]).is_err() => break Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(failed(error)),
            }
        };
        drop(self.tar);
        let report = decode(&mut self.socket);
        fed?;
        match report {
            Ok(Report::Worked { bytes }) => Ok(bytes),
            Ok(other) => {
                let error = refused(other);
                Err(DriverError::file_system(error.to_string()).with_source(error))
            }
            Err(error) => Err(shim::lost(&error)),
        }
    }
}

impl Packing {
    /// Writes the tar. Blocks.
    ///
    /// # Errors
    ///
    /// That of the writer; else what the shim was refused.
    pub(crate) fn drain(mut self, writer: impl Write) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(PIECE, writer);
        io::copy(&mut self.tar, &mut writer)?;
        writer.flush()?;
        match decode(&mut self.socket)? {
            Report::Worked { .. } => Ok(()),
            other => Err(refused(other)),
        }
    }
}

/// What a shim was refused, of the kind that the kernel's number has.
fn refused(report: Report) -> io::Error {
    match report {
        Report::Failed { message, errno, .. } => {
            let kind = errno.map_or(ErrorKind::Other, |errno| {
                io::Error::from_raw_os_error(errno).kind()
            });
            io::Error::new(kind, message)
        }
        other => io::Error::other(format!("the shim answered another question: {other:?}")),
    }
}

#[cfg(test)]
mod tests;
