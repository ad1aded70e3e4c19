//! The terminal of this program: raw mode, which is undone on every way out, and its size.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use driver_types::TerminalSize;
use nix::sys::termios::{self, SetArg, Termios};

/// The modes before raw mode began; `None` while it is off.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode. Dropping it restores the terminal.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Makes the terminal on stdin raw: keys go to the process as they are, Ctrl-C too.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        SAVED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(before);
        termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Ends raw mode, if it is on.
pub(crate) fn restore() {
    if let Some(before) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Not TCSADRAIN: it waits for output that nobody may read. A terminal that is gone needs no restoring.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
}

/// Ends raw mode before a panic prints its message.
pub(crate) fn restore_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        print(info);
    }));
}

/// The size of the terminal on stdout, else on stdin or stderr; `None` without one.
pub(crate) fn size() -> Option<TerminalSize> {
    let (width, height) = terminal_size::terminal_size_of(io::stdout())
        .or_else(|| terminal_size::terminal_size_of(io::stdin()))
        .or_else(|| terminal_size::terminal_size_of(io::stderr()))?;
    (width.0 > 0 && height.0 > 0).then_some(TerminalSize {
        rows: height.0,
        columns: width.0,
    })
}

/// Whether stdin is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::io::Read;
    use std::process::{Command, Stdio};

    use nix::pty::{OpenptyResult, openpty};
    use nix::sys::termios::{LocalFlags, tcgetattr};

    use super::*;

    const MESSAGE: &str = "a panic in raw mode";

    /// Tells this test that it is the program on the terminal.
    const INSIDE: &str = "DRIVER_TEST_PANIC_IN_RAW_MODE";

    fn panic_in_raw_mode() {
        restore_on_panic();
        // Where a panic aborts, nothing is dropped: only the hook can restore.
        std::mem::forget(RawMode::enter().unwrap());
        let now = tcgetattr(io::stdin()).unwrap();
        assert!(!now.local_flags.contains(LocalFlags::ICANON));
        panic!("{MESSAGE}");
    }

    #[test]
    fn a_panic_restores_the_terminal_and_is_readable() {
        if std::env::var_os(INSIDE).is_some() {
            panic_in_raw_mode();
        }
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let mut program = Command::new(std::env::current_exe().unwrap())
            .args([
                "terminal::tests::a_panic_restores_the_terminal_and_is_readable",
                "--exact",
                "--nocapture",
            ])
            .env(INSIDE, "1")
            .stdin(stream())
            .stderr(stream())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        assert!(!program.wait().unwrap().success());
        let after = tcgetattr(&slave).unwrap();
        assert!(after.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO));
        let mut shown = [0; 4096];
        let length = File::from(master).read(&mut shown).unwrap();
        let shown = String::from_utf8_lossy(&shown[..length]);
        // In raw mode the end of a line would be no return to its beginning.
        assert!(shown.contains(&format!("{MESSAGE}\r\n")), "{shown:?}");
    }
}
