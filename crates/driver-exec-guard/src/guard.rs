//! The guard itself: `[--stdin] [--tty ROWSxCOLUMNS] [--timeout-ms N] -- PROGRAM ARGUMENT...`
//!
//! Runs inside a container, above the process of one exec. It reads [`Command`](crate::Command)s from its stdin and
//! writes [`Report`](crate::Report)s to its stdout; both may be one socket. It has one thread, so that it costs one pid
//! of the container's limit, and needs no pid more to end the tree.
//!
//! `child [--tty] -- ...` is its own second half: the step between fork and exec, as a program of its own because that
//! needs no unsafe code. So a program that becomes the guard by [`supervise`] must pass arguments that begin with
//! `child` on to [`main`]: the guard starts `/proc/self/exe` with them.

mod args;
mod child;
mod ending;
mod output;
mod spawn;
mod stdin;
mod supervisor;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::FAILED;

/// The guard as a program, with the arguments after its name. The program it starts gets its environment.
///
/// The exit code is that of the program, or [`FAILED`].
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match args::parse(args) {
        Ok(args::Mode::Child { tty, argv }) => child::exec(tty, &argv),
        Ok(args::Mode::Guard(run)) => supervisor::guard(&run),
        Err(message) => refuse(&message),
    }
}

/// Becomes the guard: like [`main`], for a process that has joined a container and has one thread. The program gets
/// this environment, in which it is looked for in `PATH`, and this process's working directory, user and rights.
pub fn supervise(
    args: impl Iterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    match args::parse(args) {
        Ok(args::Mode::Guard(mut run)) => {
            run.environment = Some(environment.into_iter().collect());
            supervisor::guard(&run)
        }
        Ok(args::Mode::Child { .. }) => refuse("a child of the guard is started by the guard only"),
        Err(message) => refuse(&message),
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("guard: {message}");
    ExitCode::from(FAILED)
}
