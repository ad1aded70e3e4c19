//! Pid 1 of a container with an init: reaps what has no other parent, passes signals on, tells how the main process ended.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, WaitOptions, wait};
use rustix::termios::isatty;

use crate::ending::Ending;
use crate::failure::Result;
use crate::sys;

/// The kernel tells nobody that a pipe has become empty. A shim that lives takes what is there within the first looks.
const FIRST_LOOK: Duration = Duration::from_micros(20);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// More bytes than the kernel keeps of what is written to a terminal.
const MOST_OF_TERMINAL: u64 = 1 << 20;

/// Runs until the main process has ended and its output was taken; the kernel then ends all others. Gives up its rights by
/// `confine` where that has not been yet.
pub(crate) fn run(
    main: Pid,
    exit: &OwnedFd,
    output: &[BorrowedFd<'_>],
    confine: impl FnOnce() -> Result<()>,
) -> ! {
    // A short program has ended by now: whoever starts one as vfork does goes on where that one has left the processor.
    let ending = reap(main, WaitOptions::NOHANG).unwrap_or_else(|| match confine() {
        Ok(()) => await_end(main),
        // The program runs already, and ends with this process.
        Err(_) => sys::end(1),
    });
    // The shim may be dead; then the exit code is all that is left.
    let _ = rustix::io::write(exit, &ending.to_bytes());
    output.iter().for_each(await_taken);
    sys::end(ending.code)
}

fn await_end(main: Pid) -> Ending {
    // All signals have been blocked since before the container was made: none is lost.
    match SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC) {
        Ok(signals) => watch(main, &signals),
        // Without memory for a descriptor there are no signals to pass on, but an end all the same.
        Err(_) => loop {
            if let Some(ending) = reap(main, WaitOptions::empty()) {
                break ending;
            }
        },
    }
}

/// Waits until the log has what is in a pipe or a terminal now: it would be gone with the last process that holds that, and this is
/// the one where the shim was killed. Whoever adopts the run takes it.
fn await_taken(output: &BorrowedFd<'_>) {
    if is_empty(output) {
        return;
    }
    // Nothing more is to come. Those of other users it may not end; so it is not waited for until nothing is left, but until as
    // much was taken as there is.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), Signal::SIGKILL);
    let mut waiting = count(output);
    let mut untaken = if isatty(output) { MOST_OF_TERMINAL } else { waiting };
    let mut pause = FIRST_LOOK;
    while untaken > 0 && !is_empty(output) {
        std::thread::sleep(pause);
        pause = (2 * pause).min(LAST_LOOK);
        let now = count(output);
        untaken = untaken.saturating_sub(waiting.saturating_sub(now));
        waiting = now;
    }
}

/// Whether nothing can be read. What a terminal still has in front of its buffer comes into that first.
fn is_empty(output: &BorrowedFd<'_>) -> bool {
    let now = Timespec::default();
    let ready = poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&now));
    ready.is_ok_and(|ready| ready == 0)
}

/// How many bytes can be read at once.
fn count(output: &BorrowedFd<'_>) -> u64 {
    ioctl_fionread(output).unwrap_or(0)
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
