//! Starting the program: pipes or a terminal, and the child process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::args::Run;

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
pub(super) fn spawn(run: &Run) -> io::Result<Spawned> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("child");
    if let Some(environment) = &run.environment {
        command.env_clear().envs(environment.iter().cloned());
    }
    match run.tty {
        Some(size) => with_terminal(command, run, size),
        None => with_pipes(command, run),
    }
}

fn with_pipes(mut command: Command, run: &Run) -> io::Result<Spawned> {
    let (stdout, their_stdout) = io::pipe()?;
    let (stderr, their_stderr) = io::pipe()?;
    command
        .arg("--")
        .args(&run.argv)
        .stdout(their_stdout)
        .stderr(their_stderr);
    let stdin = if run.stdin {
        let (their_stdin, stdin) = io::pipe()?;
        command.stdin(their_stdin);
        Some(not_blocking(stdin.into())?)
    } else {
        command.stdin(Stdio::null());
        None
    };
    Ok(Spawned {
        pid: start(command)?,
        stdin,
        stdout: OwnedFd::from(stdout).into(),
        stderr: Some(OwnedFd::from(stderr).into()),
    })
}

fn with_terminal(mut command: Command, run: &Run, size: Winsize) -> io::Result<Spawned> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    tcsetwinsize(&terminal, size)?;
    let theirs = ioctl_tiocgptpeer(&terminal, flags)?;
    command.arg("--tty").arg("--").args(&run.argv);
    command
        .stdin(theirs.try_clone()?)
        .stdout(theirs.try_clone()?)
        .stderr(theirs);
    let stdin = not_blocking(terminal)?;
    Ok(Spawned {
        pid: start(command)?,
        stdout: stdin.try_clone()?,
        stdin: Some(stdin),
        stderr: None,
    })
}

/// Starts the child and closes our copies of its ends. The child is reaped by number with all others.
fn start(mut command: Command) -> io::Result<Pid> {
    let child = command.spawn()?;
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("a process without a number"))
}

/// Makes writes return at once where they would wait.
pub(super) fn not_blocking(fd: OwnedFd) -> io::Result<File> {
    rustix::io::ioctl_fionbio(fd.as_fd(), true)?;
    Ok(fd.into())
}
