//! Signals to this program while it runs a process: they are for the process.

use std::io;

use driver_types::Signal;
use tokio::signal::unix::{self, SignalKind};

/// What came from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// A signal that asks to end.
    End(Signal),
    /// The terminal has another size.
    Resized,
}

/// Catches the signals that ask to end, and changes of the terminal's size. While it lives they do not end this
/// program.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
    quit: unix::Signal,
    window: unix::Signal,
}

impl Signals {
    /// Begins to catch.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            quit: unix::signal(SignalKind::quit())?,
            window: unix::signal(SignalKind::window_change())?,
        })
    }

    /// The next signal. Those of one kind that come close together may be one.
    pub(crate) async fn next(&mut self) -> Interrupt {
        let quit = Signal::from_number(3).unwrap_or(Signal::TERM);
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::End(Signal::INT),
            _ = self.terminate.recv() => Interrupt::End(Signal::TERM),
            _ = self.hang_up.recv() => Interrupt::End(Signal::HUP),
            _ = self.quit.recv() => Interrupt::End(quit),
            _ = self.window.recv() => Interrupt::Resized,
        }
    }

    /// The next signal that asks to end.
    pub(crate) async fn next_end(&mut self) -> Signal {
        loop {
            if let Interrupt::End(signal) = self.next().await {
                return signal;
            }
        }
    }
}

/// What to do with a signal that asks to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Pass it on to the process.
    Forward,
    /// The process did not end on two of them: kill it.
    Kill,
}

/// Counts the signals that ask to end: two are passed on, the third kills.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    asked: u32,
}

impl Patience {
    /// What to do with the next one.
    pub(crate) fn react(&mut self) -> Reaction {
        self.asked += 1;
        if self.asked <= 2 {
            Reaction::Forward
        } else {
            Reaction::Kill
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_signal_kills() {
        let mut patience = Patience::default();
        let reactions: Vec<_> = (0..4).map(|_| patience.react()).collect();
        assert_eq!(
            reactions,
            [
                Reaction::Forward,
                Reaction::Forward,
                Reaction::Kill,
                Reaction::Kill
            ]
        );
    }
}
