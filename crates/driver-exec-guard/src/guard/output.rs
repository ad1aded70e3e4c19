//! Output: from the program's pipes or terminal to the guard's own stdout, as reports.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use crate::{Frame, MAX_PAYLOAD, Report, WINDOW};

/// Reports that may wait for the connection; beyond that nothing more is read from the program.
const FULL: usize = 64 * 1024;

/// One output stream of the program.
pub(super) struct Source {
    file: File,
    stderr: bool,
    /// After the end of the program: how much of what it wrote is still to be read. What others write later is not
    /// its output.
    left: Option<u64>,
}

/// The guard's stdout.
struct Wire {
    file: File,
    waiting: Vec<u8>,
}

/// All output.
pub(super) struct Output {
    sources: Vec<Source>,
    /// Absent once nobody listens; output is then read and dropped.
    wire: Option<Wire>,
    credit: usize,
}

impl Output {
    /// `wire` does not block.
    pub(super) fn new(wire: File) -> Self {
        Self {
            sources: Vec::new(),
            wire: Some(Wire {
                file: wire,
                waiting: Vec::new(),
            }),
            credit: WINDOW,
        }
    }

    pub(super) fn read_from(&mut self, file: File, stderr: bool) {
        self.sources.push(Source {
            file,
            stderr,
            left: None,
        });
    }

    /// The sources that are to be read now, by index.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (usize, &File)> {
        let room = self
            .wire
            .as_ref()
            .is_none_or(|wire| wire.waiting.len() < FULL && self.credit > 0);
        let sources = self.sources.iter().enumerate();
        sources
            .filter(move |(_, source)| room && source.left != Some(0))
            .map(|(index, source)| (index, &source.file))
    }

    /// Our stdout, while reports wait for it.
    pub(super) fn waiting(&self) -> Option<&File> {
        self.wire
            .as_ref()
            .filter(|wire| !wire.waiting.is_empty())
            .map(|wire| &wire.file)
    }

    /// Whether somebody listens.
    pub(super) fn has_listener(&self) -> bool {
        self.wire.is_some()
    }

    /// Allows so many bytes more.
    pub(super) fn grant(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes);
    }

    /// Nobody listens any more.
    pub(super) fn discard(&mut self) {
        self.wire = None;
    }

    /// The program has ended: what is in the pipes now is all that it wrote. A terminal hangs up by itself.
    pub(super) fn program_ended(&mut self, terminal: bool) {
        if !terminal {
            for source in &mut self.sources {
                source.left = Some(rustix::io::ioctl_fionread(&source.file).unwrap_or(0));
            }
        }
    }

    /// Whether everything that the program wrote was read and sent.
    pub(super) fn is_drained(&self) -> bool {
        self.sources.iter().all(|source| source.left == Some(0)) && self.waiting().is_none()
    }

    /// From now on the output of what the program left behind is read and dropped, so that it does not die of a
    /// closed pipe.
    pub(super) fn linger(&mut self) {
        self.discard();
        self.sources.iter_mut().for_each(|source| source.left = None);
    }

    /// Whether no process holds the other end of any stream.
    pub(super) fn is_closed(&self) -> bool {
        self.sources.is_empty()
    }

    /// Reads once from each of these sources.
    pub(super) fn read(&mut self, ready: &[usize]) {
        for index in ready.iter().copied().rev() {
            let Some(source) = self.sources.get_mut(index) else {
                continue;
            };
            let mut buffer = [0; MAX_PAYLOAD];
            let mut limit = buffer.len();
            if self.wire.is_some() {
                limit = limit.min(self.credit);
            }
            if let Some(left) = source.left {
                limit = limit.min(usize::try_from(left).unwrap_or(usize::MAX));
            }
            match source.file.read(&mut buffer[..limit]) {
                Ok(0) if limit > 0 => drop(self.sources.remove(index)),
                Ok(count) => {
                    source.left = source.left.map(|left| left.saturating_sub(count as u64));
                    let stderr = source.stderr;
                    self.forward(&buffer[..count], stderr);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // A terminal whose other side is closed.
                Err(_) => drop(self.sources.remove(index)),
            }
        }
    }

    fn forward(&mut self, data: &[u8], stderr: bool) {
        if self.wire.is_some() && !data.is_empty() {
            self.credit = self.credit.saturating_sub(data.len());
            let data = data.to_vec();
            self.report(&if stderr {
                Report::Stderr(data)
            } else {
                Report::Stdout(data)
            });
        }
    }

    /// Sends a report, as soon as the connection takes it.
    pub(super) fn report(&mut self, report: &Report) {
        if let Some(wire) = &mut self.wire {
            report.encode(&mut wire.waiting);
        }
        self.flush();
    }

    /// Writes what can be written. A connection that takes nothing any more has no listener.
    pub(super) fn flush(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        let mut sent = 0;
        while sent < wire.waiting.len() {
            match wire.file.write(&wire.waiting[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.discard(),
            }
        }
        wire.waiting.drain(..sent);
    }
}
