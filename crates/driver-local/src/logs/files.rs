//! The files of a log, and the frames in one of them. The format is that of `driver_local_shim::log`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use driver_local_shim::log::{HEADER, parse};
use driver_types::OutputStream;

/// How much is read at once; more only for a frame that is longer.
const CHUNK: usize = 256 * 1024;

/// A piece of log as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) stream: OutputStream,
    /// When it arrived, in epoch milliseconds.
    pub(super) time: u64,
    pub(super) data: Bytes,
}

/// Where a frame is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) at: u64,
    pub(super) stream: OutputStream,
    pub(super) time: u64,
    length: usize,
}

/// A file of a log, and how far it was read. It stays readable when it is rotated away.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) number: u64,
    /// Where the next frame begins.
    pub(super) at: u64,
    /// Nothing is read from here on.
    pub(super) end: u64,
    file: File,
}

impl LogFile {
    /// Opens a file of a log as it is now; `None`: it was rotated away.
    pub(super) fn open(directory: &Path, number: u64) -> io::Result<Option<Self>> {
        let file = match File::open(path(directory, number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        Ok(Some(Self {
            number,
            at: 0,
            end: file.metadata()?.len(),
            file,
        }))
    }

    /// The next frames; none where there is no whole one. What is not whole now is read anew the next time: its writer may
    /// be at it, or it is torn and the next writer cuts it off and writes another in its place.
    pub(super) fn read(&mut self) -> io::Result<Vec<Frame>> {
        let mut size = CHUNK;
        loop {
            let chunk = self.chunk(self.at, size)?;
            let (frames, length) = whole_frames(&chunk);
            self.at += length as u64;
            if !frames.is_empty() {
                return Ok(frames);
            }
            let needed = match chunk[length..].first_chunk::<HEADER>().and_then(parse) {
                Some((_, data, _)) => HEADER + data,
                None => CHUNK,
            };
            match chunk.len() {
                // Frames without data.
                _ if length > 0 => size = CHUNK,
                read if read == size && needed > size => size = needed,
                _ => return Ok(Vec::new()),
            }
        }
    }

    fn chunk(&self, at: u64, size: usize) -> io::Result<Bytes> {
        let end = self.end.min(self.file.metadata()?.len());
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; size.min(left)];
        let mut filled = 0;
        while filled < chunk.len() {
            match self.file.read_at(&mut chunk[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(filled);
        Ok(chunk.into())
    }

    /// Where its whole frames with data are. Only headers are read, and what is near them.
    pub(super) fn positions(&self) -> io::Result<Vec<Position>> {
        let mut reader = BufReader::new(&self.file);
        reader.seek(SeekFrom::Start(0))?;
        let (mut positions, mut at) = (Vec::new(), 0);
        let mut header = [0; HEADER];
        while at + HEADER as u64 <= self.end {
            reader.read_exact(&mut header)?;
            let Some((stream, length, time)) = parse(&header) else {
                break;
            };
            let next = at + (HEADER + length) as u64;
            if next > self.end {
                break;
            }
            if length > 0 {
                let stream = stream_of(stream);
                positions.push(Position {
                    at,
                    stream,
                    time,
                    length,
                });
            }
            reader.seek_relative(length as i64)?;
            at = next;
        }
        Ok(positions)
    }

    /// The data of a frame.
    pub(super) fn data(&self, position: &Position) -> io::Result<Bytes> {
        self.chunk(position.at + HEADER as u64, position.length)
    }

    /// Whether the data of a frame ends with a line.
    pub(super) fn ends_line(&self, position: &Position) -> io::Result<bool> {
        let last = position.at + (HEADER + position.length) as u64 - 1;
        Ok(self.chunk(last, 1)?.as_ref() == b"\n")
    }

    /// Goes on after the last whole frame.
    pub(super) fn skip_all(&mut self) -> io::Result<()> {
        let last = self.positions()?.pop();
        self.at = last.map_or(0, |last| last.at + (HEADER + last.length) as u64);
        Ok(())
    }
}

/// Takes whole frames off the beginning of a chunk, and tells how many bytes they have. Bytes that are no header end the
/// file: what follows them cannot be trusted.
fn whole_frames(chunk: &Bytes) -> (Vec<Frame>, usize) {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(header) = chunk[at..].first_chunk::<HEADER>() {
        let Some((stream, length, time)) = parse(header) else {
            break;
        };
        let (begin, end) = (at + HEADER, at + HEADER + length);
        if end > chunk.len() {
            break;
        }
        if length > 0 {
            frames.push(Frame {
                stream: stream_of(stream),
                time,
                data: chunk.slice(begin..end),
            });
        }
        at = end;
    }
    (frames, at)
}

fn stream_of(number: u8) -> OutputStream {
    match number {
        1 => OutputStream::Stdout,
        _ => OutputStream::Stderr,
    }
}

/// Opens all files of a log as they are now, the oldest first.
pub(super) fn open_all(directory: &Path) -> io::Result<VecDeque<LogFile>> {
    open_these(directory, &numbers(directory)?)
}

/// Opens files without a gap: if one in the middle was rotated away meanwhile, those before it are of no use.
pub(super) fn open_these(directory: &Path, numbers: &[u64]) -> io::Result<VecDeque<LogFile>> {
    let mut files = VecDeque::new();
    for number in numbers {
        match LogFile::open(directory, *number)? {
            Some(file) => files.push_back(file),
            None => files.clear(),
        }
    }
    Ok(files)
}

/// The numbers of the files, in order; none where there is no directory.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()?.strip_suffix(".log")?.parse().ok()
    };
    let mut numbers: Vec<u64> = entries.filter_map(|entry| number(entry.ok()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The path of the file of a number.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.log"))
}
