//! The exec guard: `guard [--stdin] [--tty ROWSxCOLUMNS] [--timeout-ms N] -- PROGRAM ARGUMENT...`
//!
//! Runs inside a container as the process of a Docker exec. It has one thread, so that it costs one pid of the
//! container's limit, and needs no pid more to end the tree. `guard child [--tty] -- ...` is its own second half: the
//! step between fork and exec, as a program of its own because that needs no unsafe code.

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod ending;
#[cfg(target_os = "linux")]
mod output;
#[cfg(target_os = "linux")]
mod spawn;
#[cfg(target_os = "linux")]
mod stdin;
#[cfg(target_os = "linux")]
mod supervisor;
#[cfg(target_os = "linux")]
mod tree;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(args::Mode::Child { tty, argv }) => child::exec(tty, &argv),
        Ok(args::Mode::Guard(run)) => supervisor::guard(&run),
        Err(message) => {
            eprintln!("guard: {message}");
            ExitCode::from(driver_exec_guard::FAILED)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("guard: runs in Linux containers only");
    ExitCode::from(driver_exec_guard::FAILED)
}
