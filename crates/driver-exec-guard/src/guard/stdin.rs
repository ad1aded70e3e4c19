//! The program's stdin: bytes that wait until it reads them.

use std::fs::File;
use std::io::{ErrorKind, Write};

/// End of file as a terminal reads it.
const END_OF_TRANSMISSION: u8 = 4;

/// Our end of the program's stdin.
pub(super) struct Stdin {
    sink: Option<File>,
    terminal: bool,
    waiting: Vec<u8>,
    closing: bool,
}

impl Stdin {
    pub(super) fn new(sink: Option<File>, terminal: bool) -> Self {
        Self {
            sink,
            terminal,
            waiting: Vec::new(),
            closing: false,
        }
    }

    /// Our end, while bytes wait for it.
    pub(super) fn waiting(&self) -> Option<&File> {
        self.sink.as_ref().filter(|_| !self.waiting.is_empty())
    }

    /// The terminal, if it is one.
    pub(super) fn terminal(&self) -> Option<&File> {
        self.sink.as_ref().filter(|_| self.terminal)
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds bytes, and says how many were taken at once.
    pub(super) fn push(&mut self, data: &[u8]) -> usize {
        if self.closing {
            return data.len();
        }
        self.waiting.extend_from_slice(data);
        self.flush()
    }

    /// Ends stdin after the bytes that wait; says how many were taken at once.
    pub(super) fn close(&mut self) -> usize {
        if self.closing {
            return 0;
        }
        self.closing = true;
        if self.terminal {
            // Not counted by the driver, so not reported to it either.
            self.waiting.push(END_OF_TRANSMISSION);
            return self.flush().saturating_sub(1);
        }
        self.flush()
    }

    /// Writes what can be written, and says how many bytes are done with.
    pub(super) fn flush(&mut self) -> usize {
        let mut taken = 0;
        while let Some(sink) = self.sink.as_mut().filter(|_| taken < self.waiting.len()) {
            match sink.write(&self.waiting[taken..]) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The program has closed its stdin or is gone.
                Err(_) => self.sink = None,
            }
        }
        if self.sink.is_none() {
            taken = self.waiting.len();
        }
        self.waiting.drain(..taken);
        if self.closing && self.waiting.is_empty() && !self.terminal {
            self.sink = None;
        }
        taken
    }
}
