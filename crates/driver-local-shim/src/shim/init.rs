//! Pid 1 of a container with an init: reaps what has no other parent, passes signals on, tells how the main process ended.

use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, WaitOptions, wait};

use crate::ending::Ending;
use crate::sys;

/// Runs until the main process has ended; the kernel then ends all others.
pub(crate) fn run(main: Pid, exit: &OwnedFd) -> ! {
    // All signals have been blocked since before the container was made: none is lost.
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC);
    let ending = match signals {
        Ok(signals) => watch(main, &signals),
        // Without memory for a descriptor there are no signals to pass on, but an end all the same.
        Err(_) => loop {
            if let Some(ending) = reap(main, WaitOptions::empty()) {
                break ending;
            }
        },
    };
    // The shim may be dead; then the exit code is all that is left.
    let _ = rustix::io::write(exit, &ending.to_bytes());
    sys::end(ending.code)
}

fn watch(main: Pid, signals: &SignalFd) -> Ending {
    loop {
        let number = match signals.read_signal() {
            Ok(Some(signal)) => signal.ssi_signo.cast_signed(),
            _ => Signal::SIGCHLD as i32,
        };
        if number != Signal::SIGCHLD as i32 {
            // It may have ended just now.
            let _ = sys::kill(main, number);
            continue;
        }
        if let Some(ending) = reap(main, WaitOptions::NOHANG) {
            return ending;
        }
    }
}

/// Reaps all that has ended; gives the end of the main process once it has.
fn reap(main: Pid, options: WaitOptions) -> Option<Ending> {
    while let Ok(Some((pid, status))) = wait(options) {
        if pid == main {
            return Some(Ending::of(status.exit_status(), status.terminating_signal()));
        }
    }
    None
}
