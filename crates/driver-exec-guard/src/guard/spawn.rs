//! Starting the program: pipes or a terminal, and the child process.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::args::Run;
use super::{Start, Streams};

/// A started program and our ends of its streams.
pub(super) struct Spawned {
    pub(super) pid: Pid,
    /// Not blocking.
    pub(super) stdin: Option<File>,
    pub(super) stdout: File,
    /// Absent with a terminal.
    pub(super) stderr: Option<File>,
}

/// Starts the program of `run`. Its own exec may still fail; it then ends with 126 or 127.
pub(super) fn spawn(run: &Run, start: &dyn Start) -> io::Result<Spawned> {
    match run.tty {
        Some(size) => with_terminal(run, start, size),
        None => with_pipes(run, start),
    }
}

fn with_pipes(run: &Run, start: &dyn Start) -> io::Result<Spawned> {
    let (stdout, their_stdout) = io::pipe()?;
    let (stderr, their_stderr) = io::pipe()?;
    let (their_stdin, stdin) = if run.stdin {
        let (theirs, ours) = io::pipe()?;
        (theirs.into(), Some(not_blocking(ours.into())?))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let streams = Streams {
        stdin: their_stdin,
        stdout: their_stdout.into(),
        stderr: their_stderr.into(),
    };
    Ok(Spawned {
        pid: start.start(&run.argv, false, streams)?,
        stdin,
        stdout: OwnedFd::from(stdout).into(),
        stderr: Some(OwnedFd::from(stderr).into()),
    })
}

fn with_terminal(run: &Run, start: &dyn Start, size: Winsize) -> io::Result<Spawned> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    tcsetwinsize(&terminal, size)?;
    let theirs = ioctl_tiocgptpeer(&terminal, flags)?;
    let streams = Streams {
        stdin: theirs.try_clone()?,
        stdout: theirs.try_clone()?,
        stderr: theirs,
    };
    let stdin = not_blocking(terminal)?;
    Ok(Spawned {
        pid: start.start(&run.argv, true, streams)?,
        stdout: stdin.try_clone()?,
        stdin: Some(stdin),
        stderr: None,
    })
}

/// By this very program's second half: what comes between fork and exec would need unsafe code here.
pub(super) struct SecondHalf;

impl Start for SecondHalf {
    fn start(&self, argv: &[OsString], terminal: bool, streams: Streams) -> io::Result<Pid> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("child");
        if terminal {
            command.arg("--tty");
        }
        let child = command
            .arg("--")
            .args(argv)
            .stdin(streams.stdin)
            .stdout(streams.stdout)
            .stderr(streams.stderr)
            .spawn()?;
        // It is reaped by number with all others.
        Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("a process without a number"))
    }
}

/// Makes writes return at once where they would wait.
pub(super) fn not_blocking(fd: OwnedFd) -> io::Result<File> {
    rustix::io::ioctl_fionbio(fd.as_fd(), true)?;
    Ok(fd.into())
}
