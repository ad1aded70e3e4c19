//! The frames of a log directory, in order, over its files. The format is that of `driver_local_shim::log`.
//!
//! Files are numbered upwards; the oldest may be deleted while they are read, and a reader that was in one goes on in it to its end.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use driver_local_shim::log::{HEADER, parse};
use driver_types::OutputStream;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// A piece of log as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) stream: OutputStream,
    /// When it arrived, in epoch milliseconds.
    pub(super) time: u64,
    pub(super) data: Bytes,
}

/// A place in a log.
#[derive(Debug)]
pub(super) struct Reader {
    directory: PathBuf,
    /// The file that is read, and its number.
    file: Option<(u64, File)>,
    /// What was read of a frame that is not whole yet.
    pending: BytesMut,
}

impl Reader {
    /// Before the oldest frame.
    pub(super) fn at_start(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            file: None,
            pending: BytesMut::new(),
        }
    }

    /// After the newest frame that is whole.
    pub(super) fn at_end(directory: &Path) -> io::Result<Self> {
        let mut reader = Self::at_start(directory);
        if let Some(newest) = numbers(directory)?.last().copied() {
            let mut file = File::open(path(directory, newest))?;
            let size = file.metadata()?.len();
            let mut at = 0;
            let mut header = [0; HEADER];
            while at + HEADER as u64 <= size {
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut header)?;
                let Some((_, length, _)) = parse(&header) else {
                    break;
                };
                let next = at + (HEADER + length) as u64;
                if next > size {
                    break;
                }
                at = next;
            }
            file.seek(SeekFrom::Start(at))?;
            reader.file = Some((newest, file));
        }
        Ok(reader)
    }

    /// The next frames; none where there is nothing more now.
    pub(super) fn read(&mut self) -> io::Result<Vec<Frame>> {
        loop {
            // Before the file is read to its end: a newer one means that nothing more comes in this one.
            let newer = self.newer()?;
            if let Some((_, file)) = &mut self.file {
                let before = self.pending.len();
                self.pending.resize(before + CHUNK, 0);
                let count = file.read(&mut self.pending[before..])?;
                self.pending.truncate(before + count);
                let frames = self.frames();
                if !frames.is_empty() {
                    return Ok(frames);
                }
                if count > 0 {
                    continue;
                }
            }
            let Some(number) = newer else {
                return Ok(Vec::new());
            };
            // A frame that its writer did not finish was torn by a crash.
            self.pending.clear();
            match File::open(path(&self.directory, number)) {
                Ok(file) => self.file = Some((number, file)),
                // Rotated away meanwhile: the next look finds a newer one.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The number of the file that comes after the one that is read.
    fn newer(&self) -> io::Result<Option<u64>> {
        let now = self.file.as_ref().map(|(number, _)| *number);
        let mut numbers = numbers(&self.directory)?.into_iter();
        Ok(numbers.find(|number| now.is_none_or(|now| *number > now)))
    }

    /// Takes whole frames out of what was read. After bytes that are no frame nothing more of the file can be trusted.
    fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(header) = self.pending.first_chunk::<HEADER>() {
            let Some((stream, length, time)) = parse(header) else {
                self.pending.clear();
                break;
            };
            if self.pending.len() < HEADER + length {
                break;
            }
            let mut frame = self.pending.split_to(HEADER + length).freeze();
            frames.push(Frame {
                stream: if stream == 1 {
                    OutputStream::Stdout
                } else {
                    OutputStream::Stderr
                },
                time,
                data: frame.split_off(HEADER),
            });
        }
        frames
    }
}

/// The numbers of the files, in order; none where there is no directory.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers: Vec<u64> = entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_suffix(".log")?
                .parse()
                .ok()
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.log"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::OpenOptions;
    use std::io::Write;

    use driver_local_shim::log::header;
    use proptest::prelude::*;

    use super::*;

    fn append(directory: &Path, number: u64, bytes: &[u8]) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path(directory, number))
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    fn frame(text: &[u8]) -> Vec<u8> {
        [header(1, text.len() as u32, 7).as_slice(), text].concat()
    }

    fn texts(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|frame| frame.data.to_vec()).collect()
    }

    proptest! {
        /// Whatever the pieces, the files and the moments of reading: everything comes, once and in order.
        #[test]
        fn nothing_is_lost(pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..200), 0_usize..300, any::<bool>()), 1..20)) {
            let directory = tempfile::tempdir().unwrap();
            let mut reader = Reader::at_start(directory.path());
            let (mut number, mut expected, mut found) = (0, Vec::new(), Vec::new());
            for (text, cut, rotate) in &pieces {
                let bytes = frame(text);
                let cut = (*cut).min(bytes.len());
                append(directory.path(), number, &bytes[..cut]);
                found.extend(texts(&reader.read().unwrap()));
                append(directory.path(), number, &bytes[cut..]);
                expected.extend_from_slice(text);
                if *rotate {
                    number += 1;
                }
            }
            loop {
                let frames = reader.read().unwrap();
                if frames.is_empty() { break }
                found.extend(texts(&frames));
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_torn_frame_and_what_is_no_frame_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        append(
            directory.path(),
            0,
            &[frame(b"a"), frame(b"torn")[..HEADER + 2].to_vec()].concat(),
        );
        append(directory.path(), 1, &[frame(b"b"), vec![0xff; 64]].concat());
        append(directory.path(), 2, &frame(b"c"));
        let mut reader = Reader::at_start(directory.path());
        let mut found = Vec::new();
        loop {
            let frames = reader.read().unwrap();
            if frames.is_empty() {
                break;
            }
            found.extend(texts(&frames));
        }
        assert_eq!(found, b"abc");
    }

    #[test]
    fn the_end_is_after_the_last_whole_frame() {
        let directory = tempfile::tempdir().unwrap();
        assert!(
            Reader::at_end(directory.path())
                .unwrap()
                .read()
                .unwrap()
                .is_empty()
        );
        let torn = frame(b"later");
        append(
            directory.path(),
            3,
            &[frame(b"before"), torn[..HEADER + 1].to_vec()].concat(),
        );
        let mut reader = Reader::at_end(directory.path()).unwrap();
        assert!(reader.read().unwrap().is_empty());
        append(directory.path(), 3, &torn[HEADER + 1..]);
        assert_eq!(texts(&reader.read().unwrap()), b"later");
    }
}
