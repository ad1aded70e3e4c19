//! The guard itself: `[--stdin] [--tty ROWSxCOLUMNS] [--timeout-ms N] -- PROGRAM ARGUMENT...`
//!
//! Runs inside a container, above the process of one exec. It reads [`Command`](crate::Command)s from its stdin and
//! writes [`Report`](crate::Report)s to its stdout; both may be one socket. It has one thread, so that it costs one pid
//! of the container's limit, and needs no pid more to end the tree.
//!
//! `child [--tty] -- ...` is its own second half: the step between fork and exec, as a program of its own because that
//! needs no unsafe code. A program that becomes the guard by [`supervise`] takes that step itself.

mod args;
mod child;
mod ending;
mod output;
mod spawn;
mod stdin;
mod supervisor;
mod tree;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::process::Pid;

use crate::FAILED;

/// The guard as a program, with the arguments after its name. The program it starts gets its environment.
///
/// The exit code is that of the program, or [`FAILED`].
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match args::parse(args) {
        Ok(args::Mode::Child { tty, argv }) => child::exec(tty, &argv),
        Ok(args::Mode::Guard(run)) => supervisor::guard(&run, &spawn::SecondHalf),
        Err(message) => refuse(&message),
    }
}

/// The program's ends of its streams. With a terminal all three are it.
#[derive(Debug)]
pub struct Streams {
    /// What it reads.
    pub stdin: OwnedFd,
    /// What it writes.
    pub stdout: OwnedFd,
    /// Likewise.
    pub stderr: OwnedFd,
}

/// How the guard's program is started.
pub trait Start {
    /// Starts `argv` as a child of this process, with a session of its own, and with stdin as its controlling terminal if
    /// it has one. A program that cannot be executed ends with 127 where it is missing, else with 126, and its reason is on
    /// stderr.
    ///
    /// # Errors
    ///
    /// There is no memory, or no pid, for a process.
    fn start(&self, argv: &[OsString], terminal: bool, streams: Streams) -> io::Result<Pid>;
}

/// Becomes the guard: like [`main`], for a process that has joined a container and has one thread.
pub fn supervise(args: impl Iterator<Item = OsString>, start: &dyn Start) -> ExitCode {
    match args::parse(args) {
        Ok(args::Mode::Guard(run)) => supervisor::guard(&run, start),
        Ok(args::Mode::Child { .. }) => refuse("a child of the guard is started by the guard only"),
        Err(message) => refuse(&message),
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("guard: {message}");
    ExitCode::from(FAILED)
}
