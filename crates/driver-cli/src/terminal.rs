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
