//! From the bytes of a log reply to entries with their times.
//!
//! The engine is always asked for times. It stores output in entries: one a line, and for longer lines one for each
//! 16 KiB. Without a terminal each entry is a frame of the multiplexed stream; with one the reply is raw, and entries
//! follow each other by the same rule. Each begins with its time and a space. Nothing is recognised by its looks: where
//! an entry begins follows from the frames, or from line ends and length.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use driver_types::OutputStream;

use crate::failure::Failure;
use crate::mux::{Channel, Demux, Piece};

/// The engine's buffer for a line: an entry without a line end has exactly so many bytes.
const ENTRY_BYTES: usize = 16 * 1024;
/// The longest time that an engine writes, `2026-11-23T20:25:39.361928463+05:30 `, with room.
const MAX_STAMP: usize = 48;

/// A part of the log: an entry, or a piece of one that is longer than the engine should make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stream: OutputStream,
    /// The time as the engine wrote it; empty where it wrote none.
    pub(crate) stamp: Bytes,
    /// The same in epoch milliseconds.
    pub(crate) time: u64,
    pub(crate) data: Bytes,
    /// Whether it begins a line of its stream.
    pub(crate) begins_line: bool,
}

/// Takes a log reply in pieces of any size. Holds back at most one entry of the engine's size.
#[derive(Debug)]
pub(crate) struct LogDecoder {
    /// Absent with a terminal: the reply is then raw.
    demux: Option<Demux>,
    ready: VecDeque<Entry>,
    current: Current,
    /// The last time of all: for entries without one.
    time: u64,
    /// Whether the next entry of stdout and of stderr begins a line.
    line_start: [bool; 2],
    /// Whether the engine's log driver loses the end of a line that was stored in pieces.
    loses_line_ends: bool,
    failed: Option<Failure>,
}

/// The entry that is being read.
#[derive(Debug, Default)]
struct Current {
    /// Whether something of it was read.
    begun: bool,
    stamp: Option<Bytes>,
    held: BytesMut,
    /// How much of it was given out already.
    given: usize,
}

impl LogDecoder {
    /// A decoder for a container with or without a terminal.
    pub(crate) fn new(tty: bool) -> Self {
        Self {
            demux: (!tty).then(Demux::default),
            ready: VecDeque::new(),
            current: Current::default(),
            time: 0,
            line_start: [true; 2],
            loses_line_ends: false,
            failed: None,
        }
    }

    /// Puts back the line end of a long line, which the log driver `local` loses with the last piece. Where a process
    /// ended within such a line there was none; that cannot be told apart.
    pub(crate) fn mend_line_ends(self, loses_line_ends: bool) -> Self {
        Self {
            loses_line_ends,
            ..self
        }
    }

    /// Adds bytes of the reply.
    pub(crate) fn push(&mut self, mut bytes: Bytes) {
        if self.failed.is_some() {
            return;
        }
        let Some(mut demux) = self.demux.take() else {
            return self.push_raw(&mut bytes);
        };
        loop {
            match demux.next(&mut bytes) {
                Ok(Some(piece)) => self.push_piece(piece),
                Ok(None) => break,
                Err(failure) => {
                    self.failed = Some(failure);
                    break;
                }
            }
        }
        self.demux = Some(demux);
    }

    /// The reply has ended.
    pub(crate) fn finish(&mut self) {
        let cut = self
            .demux
            .as_ref()
            .is_some_and(|demux| !demux.is_between_frames());
        if self.demux.is_none() {
            self.end_entry(OutputStream::Stdout);
        } else if cut && self.failed.is_none() {
            self.failed = Some(Failure::Broken("the log ended within a frame".into()));
        }
    }

    /// Another reply follows that goes on with the same log.
    pub(crate) fn begin_reply(&mut self) {
        self.demux = self.demux.as_ref().map(|_| Demux::default());
    }

    /// The next entry; `None` until more is pushed.
    ///
    /// # Errors
    ///
    /// What the reply broke with, after all entries before it.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Failure> {
        match (self.ready.pop_front(), &self.failed) {
            (None, Some(failure)) => Err(failure.clone()),
            (entry, _) => Ok(entry),
        }
    }

    fn push_piece(&mut self, piece: Piece) {
        let stream = match piece.channel {
            Channel::Stdout => OutputStream::Stdout,
            Channel::Stderr => OutputStream::Stderr,
            Channel::System => {
                let text = String::from_utf8_lossy(&piece.data).trim().to_owned();
                self.failed
                    .get_or_insert(Failure::Broken(format!("the engine cannot read the log: {text}")));
                return;
            }
        };
        self.add(stream, &piece.data);
        if piece.last {
            self.end_entry(stream);
        }
    }

    /// Without frames an entry ends with its line, or with the engine's buffer.
    fn push_raw(&mut self, bytes: &mut Bytes) {
        let stream = OutputStream::Stdout;
        while !bytes.is_empty() {
            if self.current.stamp.is_none() {
                let first = bytes.split_to(1);
                self.add(stream, &first);
                // An entry whose time makes no sense is content from its beginning, and may be at its end.
                if self.current.stamp.is_some() && self.current.held.ends_with(b"\n") {
                    self.end_entry(stream);
                }
                continue;
            }
            let room = ENTRY_BYTES.saturating_sub(self.current.given + self.current.held.len());
            let within = &bytes[..bytes.len().min(room)];
            let line_end = within.iter().position(|byte| *byte == b'\n');
            let taken = bytes.split_to(line_end.map_or(within.len(), |end| end + 1));
            self.add(stream, &taken);
            if line_end.is_some() || taken.len() == room {
                self.end_entry(stream);
            }
        }
    }

    fn add(&mut self, stream: OutputStream, data: &[u8]) {
        self.current.begun = true;
        self.current.held.extend_from_slice(data);
        if self.current.stamp.is_none() && !self.read_stamp() {
            return;
        }
        // An entry that is longer than it should be is passed on in pieces.
        if self.current.held.len() > ENTRY_BYTES {
            self.give(stream);
        }
    }

    /// Separates the time from the content once it is complete.
    fn read_stamp(&mut self) -> bool {
        let held = &mut self.current.held;
        let space = held.iter().take(MAX_STAMP).position(|byte| *byte == b' ');
        let time = space
            .and_then(|space| std::str::from_utf8(&held[..space]).ok())
            .and_then(crate::time::parse_ms);
        match (space, time) {
            (Some(space), Some(time)) => {
                self.current.stamp = Some(held.split_to(space).freeze());
                held.advance(1);
                self.time = time;
            }
            // It may still come.
            (None, _) if held.len() < MAX_STAMP && !held.contains(&b'\n') => return false,
            _ => self.current.stamp = Some(Bytes::new()),
        }
        true
    }

    fn end_entry(&mut self, stream: OutputStream) {
        if self.current.begun {
            self.current.stamp.get_or_insert_default();
            let size = self.current.given + self.current.held.len();
            let continues = !self.line_start[usize::from(stream == OutputStream::Stderr)];
            if self.loses_line_ends && continues && size < ENTRY_BYTES && !self.current.held.ends_with(b"\n")
            {
                self.current.held.extend_from_slice(b"\n");
            }
            self.give(stream);
        }
        self.current = Current::default();
    }

    fn give(&mut self, stream: OutputStream) {
        let data = self.current.held.split().freeze();
        let Some(last) = data.last() else { return };
        self.current.given += data.len();
        let line_start = &mut self.line_start[usize::from(stream == OutputStream::Stderr)];
        let begins_line = std::mem::replace(line_start, *last == b'\n');
        self.ready.push_back(Entry {
            stream,
            stamp: self.current.stamp.clone().unwrap_or_default(),
            time: self.time,
            data,
            begins_line,
        });
    }
}

#[cfg(test)]
#[path = "log_decoder_tests.rs"]
mod tests;
