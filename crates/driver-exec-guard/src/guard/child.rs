//! The step between fork and exec: a session and a terminal of its own, default signals, then the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::signal::SigSet;

/// Becomes the program. Comes back only where that fails: 127 for a missing program, 126 for one that cannot be
/// executed, as shells do it, with the reason on stderr.
pub(super) fn exec(tty: bool, argv: &[OsString]) -> ExitCode {
    let error = match prepare(tty) {
        Ok(()) => {
            let mut command = Command::new(&argv[0]);
            command.args(&argv[1..]);
            if tty && std::env::var_os("TERM").is_none() {
                command.env("TERM", "xterm");
            }
            command.exec()
        }
        Err(error) => error,
    };
    eprintln!("{}: {error}", argv[0].display());
    ExitCode::from(match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    })
}

fn prepare(tty: bool) -> io::Result<()> {
    rustix::process::setsid()?;
    if tty {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    }
    // The guard blocks all signals for itself; what it starts must not inherit that.
    SigSet::all().thread_unblock()?;
    Ok(())
}
