//! The container's directory in the state directory, by descriptor: its path may be too long for a socket, and is not
//! needed once it is open.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use driver_local_shim::{SOCKET, Stage};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, chmodat, flock, mkdirat, mknodat, openat, unlinkat,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::failure::{At, Failure, Result};

/// Names in the directory.
const LOCK: &str = "shim.lock";
const HELPER_LOCK: &str = "helper.lock";
const JOURNAL: &str = "journal";
const LOG: &str = "log";

/// For owner only.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);

/// The directory, and the lock that tells that this shim lives.
pub(crate) struct Directory {
    fd: OwnedFd,
    journal: File,
    path: String,
    /// Let go of last: whoever gets it finds nothing open.
    _lock: OwnedFd,
}

/// How long the shim of the run before may take to go, after it has written its end; and drivers hold the lock for a moment
/// to see whether a shim lives.
const PATIENCE: Duration = Duration::from_secs(5);

fn take(lock: &OwnedFd, name: &str) -> Result<()> {
    let begin = Instant::now();
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::WOULDBLOCK) => {
                let message = format!("{name}: another shim runs this container");
                return Err(Failure::new(Stage::Prepare, message));
            }
            other => return other.at(Stage::Prepare, || name.to_owned()),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    /// Opens it and takes the lock.
    pub(crate) fn open(path: &str) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).at(Stage::Prepare, || path.to_owned())?;
        let named = |name: &str| format!("{path}/{name}");
        let lock = openat(
            &fd,
            LOCK,
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
            PRIVATE,
        );
        let lock = lock.at(Stage::Prepare, || named(LOCK))?;
        take(&lock, &named(LOCK))?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        let journal = openat(&fd, JOURNAL, flags, PRIVATE).at(Stage::Prepare, || named(JOURNAL))?;
        Ok(Self {
            fd,
            journal: journal.into(),
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Appends a record with one write, so that lines of several writers never mix.
    pub(crate) fn append(&self, record: &str) -> io::Result<()> {
        (&self.journal).write_all(record.as_bytes())
    }

    /// Makes a FIFO anew: one that a killed shim left holds nothing of this run.
    pub(crate) fn make_fifo(&self, name: &str) -> Result<()> {
        self.remove(name);
        mknodat(&self.fd, name, FileType::Fifo, PRIVATE, 0).at(Stage::Prepare, || self.named(name))
    }

    /// Opens one of its FIFOs.
    pub(crate) fn open_fifo(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        self.open_file(name, flags)
    }

    /// Opens, or makes, a file in it.
    pub(crate) fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&self.fd, name, flags, PRIVATE).at(Stage::Prepare, || self.named(name))
    }

    /// Opens the directory of the log; makes it where it is missing.
    pub(crate) fn open_log(&self) -> Result<OwnedFd> {
        match mkdirat(&self.fd, LOG, Mode::from_raw_mode(0o700)) {
            Err(error) if error != Errno::EXIST => Err(error).at(Stage::Prepare, || self.named(LOG))?,
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.fd, LOG, flags, Mode::empty()).at(Stage::Prepare, || self.named(LOG))
    }

    /// Listens on the socket.
    pub(crate) fn listen(&self) -> Result<OwnedFd> {
        self.remove(SOCKET);
        let make = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let short = format!("/proc/self/fd/{}/{SOCKET}", self.fd.as_raw_fd());
            bind(&socket, &SocketAddrUnix::new(short.as_str())?)?;
            chmodat(&self.fd, SOCKET, PRIVATE, AtFlags::empty())?;
            listen(&socket, 16)?;
            rustix::io::Result::Ok(socket)
        };
        make().at(Stage::Prepare, || self.named(SOCKET))
    }

    /// The lock that is held as long as the run's network helper lives.
    pub(crate) fn lock_helper(&self) -> Result<OwnedFd> {
        let lock = self.open_file(HELPER_LOCK, OFlags::RDWR | OFlags::CREATE)?;
        take(&lock, &self.named(HELPER_LOCK))?;
        Ok(lock)
    }

    /// The same lock, for [`await_helper`](Self::await_helper). Most runs have none.
    pub(crate) fn helper(&self) -> Option<OwnedFd> {
        self.open_file(HELPER_LOCK, OFlags::RDWR).ok()
    }

    /// Waits until the network helper of a run that has ended is gone, and its ports with it.
    pub(crate) fn await_helper(&self, lock: Option<&OwnedFd>) {
        if let Some(lock) = lock {
            let _ = rustix::io::retry_on_intr(|| flock(lock, FlockOperation::LockExclusive));
            self.remove(HELPER_LOCK);
        }
    }

    /// Removes a name if it is there.
    pub(crate) fn remove(&self, name: &str) {
        // Left where it cannot be removed; the next shim makes it anew or says why not.
        let _ = unlinkat(&self.fd, name, AtFlags::empty());
    }

    fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}
