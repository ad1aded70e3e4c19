//! What a process reads from and writes to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use driver_types::{OutputStream, ProcessFrame, Signal, TerminalSize};
use tokio::sync::{Notify, mpsc};

use crate::world::MainOutput;

/// Standard input and output of a process.
#[derive(Clone, Debug)]
pub(crate) struct Stdio {
    /// `None`: /dev/null.
    pub(crate) stdin: Option<Arc<Pipe>>,
    pub(crate) output: Output,
    pub(crate) terminal: Option<Arc<Terminal>>,
}

impl Stdio {
    /// /dev/null in every direction.
    pub(crate) fn null() -> Self {
        Self {
            stdin: None,
            output: Output::Null,
            terminal: None,
        }
    }

    /// Writes, and waits while a reader is behind. An error of the write is none of the process's business.
    pub(crate) async fn write(&self, stream: OutputStream, data: Bytes, now_ms: u64) {
        if data.is_empty() {
            return;
        }
        match &self.terminal {
            Some(_) => {
                self.output
                    .write(OutputStream::Stdout, Terminal::cook(&data), now_ms)
                    .await
            }
            None => self.output.write(stream, data, now_ms).await,
        }
    }
}

impl Stdio {
    /// Writes if nobody has to be waited for; `false`, and nothing is written, otherwise.
    pub(crate) fn write_now(&self, stream: OutputStream, data: Bytes, now_ms: u64) -> bool {
        let (stream, data) = match &self.terminal {
            Some(_) => (OutputStream::Stdout, Terminal::cook(&data)),
            None => (stream, data),
        };
        match &self.output {
            Output::Null => true,
            Output::Main(output) => output.write_now(stream, data, now_ms),
            Output::Channel(sender) => sender.try_send(frame(stream, data)).is_ok(),
        }
    }
}

/// Where output goes.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    Null,
    /// The container's log, and whoever is attached.
    Main(Arc<MainOutput>),
    /// The reader of an exec.
    Channel(mpsc::Sender<ProcessFrame>),
}

impl Output {
    pub(crate) async fn write(&self, stream: OutputStream, data: Bytes, now_ms: u64) {
        match self {
            Self::Null => {}
            Self::Main(output) => output.write(stream, data, now_ms).await,
            Self::Channel(sender) => {
                let _ = sender.send(frame(stream, data)).await;
            }
        }
    }
}

pub(crate) fn frame(stream: OutputStream, data: Bytes) -> ProcessFrame {
    let data = data.into();
    match stream {
        OutputStream::Stdout => ProcessFrame::Stdout { data },
        OutputStream::Stderr => ProcessFrame::Stderr { data },
    }
}

/// A pipe(7): at most 64 KiB under way.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    state: Mutex<PipeState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct PipeState {
    data: VecDeque<u8>,
    closed: bool,
}

const PIPE_SIZE: usize = 64 * 1024;

impl Pipe {
    /// One that already holds all its bytes.
    pub(crate) fn of(data: Bytes) -> Self {
        let pipe = Self::default();
        {
            let mut state = pipe.lock();
            state.data.extend(data);
            state.closed = true;
        }
        pipe
    }

    /// One that holds bytes and stays open for more.
    pub(crate) fn open_with(data: Bytes) -> Self {
        let pipe = Self::of(data);
        pipe.lock().closed = false;
        pipe
    }

    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all of it, waiting for room; `false` once the pipe is closed.
    pub(crate) async fn write(&self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if state.closed {
                    return false;
                }
                let room = PIPE_SIZE.saturating_sub(state.data.len()).min(data.len());
                state.data.extend(&data[..room]);
                data = &data[room..];
                if room > 0 {
                    self.changed.notify_waiters();
                }
            }
            if !data.is_empty() {
                changed.await;
            }
        }
        !self.lock().closed
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn read(&self) -> Option<Bytes> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if !state.data.is_empty() {
                    let data: Vec<u8> = state.data.drain(..).collect();
                    self.changed.notify_waiters();
                    return Some(data.into());
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }
}

/// A terminal: its size and its line discipline.
#[derive(Debug)]
pub(crate) struct Terminal {
    state: Mutex<TerminalState>,
}

#[derive(Debug)]
struct TerminalState {
    size: TerminalSize,
    line: Vec<u8>,
}

/// What came of typed bytes.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    /// To show.
    pub(crate) echo: Vec<u8>,
    /// Whole lines for the process.
    pub(crate) lines: Vec<u8>,
    pub(crate) signals: Vec<Signal>,
    pub(crate) end_of_file: bool,
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_BACKSLASH: u8 = 28;
const ERASE: u8 = 127;

impl Terminal {
    pub(crate) fn new(size: TerminalSize) -> Self {
        Self {
            state: Mutex::new(TerminalState {
                size,
                line: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TerminalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn size(&self) -> TerminalSize {
        self.lock().size
    }

    pub(crate) fn resize(&self, size: TerminalSize) {
        self.lock().size = size;
    }

    /// Output as a terminal shows it: a newline moves to the first column too.
    fn cook(data: &[u8]) -> Bytes {
        let mut cooked = Vec::with_capacity(data.len() + 8);
        for byte in data {
            if *byte == b'\n' {
                cooked.push(b'\r');
            }
            cooked.push(*byte);
        }
        cooked.into()
    }

    /// Input in canonical mode: echoed, by lines, with the keys that send signals.
    pub(crate) fn type_in(&self, data: &[u8]) -> Typed {
        let mut state = self.lock();
        let mut typed = Typed::default();
        for byte in data {
            match *byte {
                CTRL_C | CTRL_BACKSLASH => {
                    typed.echo.extend(if *byte == CTRL_C { b"^C" } else { b"^\\" });
                    state.line.clear();
                    let signal = if *byte == CTRL_C {
                        Some(Signal::INT)
                    } else {
                        Signal::from_number(3)
                    };
                    typed.signals.extend(signal);
                }
                CTRL_D if state.line.is_empty() => typed.end_of_file = true,
                CTRL_D => typed.lines.append(&mut state.line),
                ERASE => {
                    if state.line.pop().is_some() {
                        typed.echo.extend(b"\x08 \x08");
                    }
                }
                b'\r' | b'\n' => {
                    typed.echo.extend(b"\r\n");
                    state.line.push(b'\n');
                    typed.lines.append(&mut state.line);
                }
                other => {
                    typed.echo.push(other);
                    state.line.push(other);
                }
            }
        }
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipe_holds_a_writer_back_and_loses_nothing() {
        let pipe = Arc::new(Pipe::default());
        let writer = tokio::spawn({
            let pipe = Arc::clone(&pipe);
            async move {
                let done = pipe.write(&vec![7; 3 * PIPE_SIZE]).await;
                pipe.close();
                done
            }
        });
        let mut total = 0;
        while let Some(data) = pipe.read().await {
            assert!(data.len() <= PIPE_SIZE);
            total += data.len();
        }
        assert_eq!(total, 3 * PIPE_SIZE);
        assert!(writer.await.unwrap());
        assert!(!pipe.write(b"more").await);
    }

    #[test]
    fn a_terminal_edits_lines_and_sends_signals() {
        let terminal = Terminal::new(TerminalSize {
            rows: 24,
            columns: 80,
        });
        let typed = terminal.type_in(b"ab\x7fc\rrest");
        assert_eq!(
            (typed.lines.as_slice(), typed.end_of_file),
            (b"ac\n".as_slice(), false)
        );
        let typed = terminal.type_in(b"\x03\x04");
        assert_eq!(
            (typed.signals.as_slice(), typed.end_of_file),
            ([Signal::INT].as_slice(), true)
        );
        assert_eq!(Terminal::cook(b"a\nb"), "a\r\nb");
    }
}
