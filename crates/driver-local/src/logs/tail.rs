//! Where the last lines begin.
//!
//! Frames can be read forwards only. But where they are in a file is told by their headers alone, so that files are gone
//! through from the newest on, their frames from the last on, and data is read only of as many as have the lines.

use std::collections::VecDeque;
use std::io;

use driver_types::{LogOptions, OutputStream};

use super::files::{LogFile, Position};
use super::lines::{Lines, index, passes};

/// Moves to the frame in which the last `wanted` lines begin, counted over both streams among what passes the options, and
/// tells what is to be left out from there on.
pub(super) fn seek(files: &mut VecDeque<LogFile>, options: &LogOptions, wanted: u64) -> io::Result<Lines> {
    if wanted == 0 {
        return seek_end(files, options);
    }
    let mut search = Search {
        wanted,
        ..Search::default()
    };
    let mut begin = None;
    'files: for (number, file) in files.iter().enumerate().rev() {
        let positions = file.positions()?;
        let passing = |position: &&Position| passes(position.stream, position.time, options);
        for position in positions.iter().rev().filter(passing) {
            let of = index(position.stream);
            if begin.is_none() {
                search.count(of, &file.data(position)?);
                if search.lines >= wanted {
                    begin = Some((number, position.at));
                }
            } else if search.is_open(of) {
                search.settle(of, file.ends_line(position)?);
            }
            if begin.is_some() && search.is_settled() {
                break 'files;
            }
        }
    }
    let lines = search.finish(options);
    if let Some((number, at)) = begin {
        files.drain(..number);
        if let Some(file) = files.front_mut() {
            file.at = at;
        }
    }
    Ok(lines)
}

fn seek_end(files: &mut VecDeque<LogFile>, options: &LogOptions) -> io::Result<Lines> {
    if let Some(mut newest) = files.pop_back() {
        newest.skip_all()?;
        files.clear();
        files.push_back(newest);
    }
    Ok(Lines::new(options))
}

/// What is known of the lines from some frame on to the end. It is not known whether the first byte of a stream begins a
/// line: that depends on the frame of this stream before it.
#[derive(Debug, Default)]
struct Search {
    wanted: u64,
    /// The lines that are known to begin there.
    lines: u64,
    /// Of stdout, of stderr: what is known of the first byte.
    first: [First; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum First {
    /// There was no frame of the stream.
    #[default]
    None,
    /// There was one.
    Open,
    BeginsLine,
    GoesOn,
}

impl Search {
    /// Adds the frame before those that were added.
    fn count(&mut self, of: usize, data: &[u8]) {
        let Some((last, before)) = data.split_last() else {
            return;
        };
        self.lines += before.iter().filter(|byte| **byte == b'\n').count() as u64;
        if self.first[of] == First::Open && *last == b'\n' {
            self.lines += 1;
        }
        self.first[of] = First::Open;
    }

    fn is_open(&self, of: usize) -> bool {
        self.first[of] == First::Open
    }

    fn is_settled(&self) -> bool {
        !self.first.contains(&First::Open)
    }

    fn settle(&mut self, of: usize, begins_line: bool) {
        self.lines += u64::from(begins_line);
        self.first[of] = if begins_line {
            First::BeginsLine
        } else {
            First::GoesOn
        };
    }

    /// A stream whose first byte is still open has no frame before it.
    fn finish(mut self, options: &LogOptions) -> Lines {
        let mut lines = Lines::new(options);
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let of = index(stream);
            if self.is_open(of) {
                self.settle(of, true);
            }
            if self.first[of] == First::GoesOn {
                lines.inside(stream);
            }
        }
        lines.skip = self.lines.saturating_sub(self.wanted);
        lines
    }
}
