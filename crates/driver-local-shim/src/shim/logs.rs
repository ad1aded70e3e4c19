//! Writing the log: frames, in files that are begun anew at a size.

use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::{LogPolicy, log};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{SpliceFlags, splice};

/// The log of a container, of which there is one writer at a time.
pub(crate) struct LogWriter {
    directory: OwnedFd,
    policy: LogPolicy,
    /// The files there are; the last one is written to.
    first: u32,
    last: u32,
    file: Option<File>,
    /// Where the next frame begins.
    size: u64,
    /// The file system of the log does not take data from a pipe.
    copies: bool,
}

/// What came of taking output from a pipe.
pub(crate) enum Taken {
    /// Some, and there may be more.
    Some,
    /// There was none.
    Nothing,
    /// It must be read and given to [`LogWriter::write`].
    MustBeRead,
}

/// The frame that a killed shim was at: its data is still in the pipe, but for what has moved.
#[derive(Clone, Copy)]
struct Torn {
    stream: u8,
    length: u64,
    moved: u64,
    at_ms: u64,
}

impl LogWriter {
    /// Goes on with the last file, without the torn frame that a killed shim may have left at its end.
    pub(crate) fn open(directory: OwnedFd, policy: LogPolicy) -> io::Result<Self> {
        let (writer, _) = Self::open_torn(directory, policy)?;
        if let Some(file) = &writer.file {
            file.set_len(writer.size)?;
        }
        Ok(writer)
    }

    /// Goes on with the last file where a killed shim was: a frame that it has begun gets the rest of its data from the pipe of
    /// its stream, so that nothing is lost or there twice.
    pub(crate) fn adopt(
        directory: OwnedFd,
        policy: LogPolicy,
        sources: &[(u8, OwnedFd)],
    ) -> io::Result<Self> {
        let (mut writer, torn) = Self::open_torn(directory, policy)?;
        let source = torn.and_then(|torn| sources.iter().find(|(stream, _)| *stream == torn.stream));
        match (torn, source) {
            (Some(torn), Some((_, source))) => writer.finish_frame(source, torn),
            _ => writer.cut()?,
        }
        Ok(writer)
    }

    fn open_torn(directory: OwnedFd, policy: LogPolicy) -> io::Result<(Self, Option<Torn>)> {
        let numbers = numbers(&directory)?;
        let last = numbers.iter().max().copied();
        let mut writer = Self {
            directory,
            policy,
            first: numbers.iter().min().copied().unwrap_or(0),
            last: last.unwrap_or(0),
            file: None,
            size: 0,
            copies: false,
        };
        let mut torn = None;
        if last.is_some() {
            let mut file = writer.open_last()?;
            (writer.size, torn) = whole_frames(&mut file)?;
            writer.file = Some(file);
        }
        Ok((writer, torn))
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The longest data that one frame should have: a file never gets much longer than the policy says.
    pub(crate) fn max_data(&self) -> usize {
        let file = usize::try_from(self.policy.max_file_bytes).unwrap_or(usize::MAX);
        file.saturating_sub(log::HEADER).clamp(4096, log::MAX_DATA)
    }

    /// Moves what is in a pipe into a frame. The kernel moves each byte: a shim that is killed at any moment has neither lost
    /// it nor written it twice.
    ///
    /// What cannot be written, for want of space, is dropped: the log stays readable, and the workload runs on.
    pub(crate) fn take(&mut self, stream: u8, source: &OwnedFd, at_ms: u64) -> Taken {
        let waiting = match ioctl_fionread(source) {
            Ok(waiting) if !self.copies => waiting,
            _ => return Taken::MustBeRead,
        };
        if waiting == 0 {
            return Taken::Nothing;
        }
        let frame = Torn {
            stream,
            length: waiting.min(self.max_data() as u64),
            moved: 0,
            at_ms,
        };
        self.make_room(frame.length);
        let header = log::header(stream, frame.length as u32, at_ms);
        match self.append(&header, &[]) {
            Ok(()) => self.finish_frame(source, frame),
            Err(_) => self.drop_frame(source, frame),
        }
        if self.copies {
            Taken::MustBeRead
        } else {
            Taken::Some
        }
    }

    /// Moves the rest of the data of a frame whose header is written.
    fn finish_frame(&mut self, source: &OwnedFd, mut frame: Torn) {
        while frame.moved < frame.length {
            let mut at = self.size + log::HEADER as u64 + frame.moved;
            let rest = usize::try_from(frame.length - frame.moved).unwrap_or(usize::MAX);
            let Some(file) = &self.file else { break };
            match splice(source, None, file, Some(&mut at), rest, SpliceFlags::NONBLOCK) {
                Ok(count) if count > 0 => frame.moved += count as u64,
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if frame.moved == 0 => {
                    self.copies = true;
                    let _ = self.cut();
                    return;
                }
                _ => break,
            }
        }
        match frame.moved {
            moved if moved == frame.length => self.size += log::HEADER as u64 + moved,
            0 => self.drop_frame(source, frame),
            moved => {
                // What has moved is not dropped: the frame becomes as long as it is.
                let header = log::header(frame.stream, moved as u32, frame.at_ms);
                if self.append(&header, &[]).is_ok() {
                    self.size += log::HEADER as u64 + moved;
                }
                self.drop_frame(source, frame);
            }
        }
    }

    /// Takes what is left of a frame's data out of the pipe, and out of the file what has no header.
    fn drop_frame(&mut self, source: &OwnedFd, frame: Torn) {
        if self.cut().is_err() {
            self.rotate();
        }
        let mut buffer = [0; 4096];
        let mut rest = frame.length - frame.moved;
        while rest > 0 {
            let limit = usize::try_from(rest).map_or(buffer.len(), |rest| rest.min(buffer.len()));
            match rustix::io::read(source, &mut buffer[..limit]) {
                Ok(count) if count > 0 => rest -= count as u64,
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }

    fn cut(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(self.size))
    }

    /// Appends a frame. Where it cannot be written, for want of space, it is dropped whole: the log stays readable, and
    /// the workload runs on.
    pub(crate) fn write(&mut self, stream: u8, data: &[u8], at_ms: u64) {
        self.make_room(data.len() as u64);
        let header = log::header(stream, data.len() as u32, at_ms);
        if self.append(&header, data).is_ok() {
            self.size += (log::HEADER + data.len()) as u64;
        } else if self.cut().is_err() {
            self.rotate();
        }
    }

    fn make_room(&mut self, data: u64) {
        let length = log::HEADER as u64 + data;
        if self.size > 0 && self.size + length > self.policy.max_file_bytes {
            self.rotate();
        }
    }

    fn append(&mut self, header: &[u8], data: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(self.open_last()?);
        }
        let Some(file) = &self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut written = 0;
        while written < header.len() + data.len() {
            let rest = [
                IoSlice::new(&header[written.min(header.len())..]),
                IoSlice::new(&data[written.saturating_sub(header.len())..]),
            ];
            match rustix::io::pwritev(file, &rest, self.size + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn rotate(&mut self) {
        self.file = None;
        self.size = 0;
        self.last += 1;
        while self.last - self.first >= self.policy.max_files.max(1) {
            let _ = unlinkat(&self.directory, name(self.first), AtFlags::empty());
            self.first += 1;
        }
    }

    fn open_last(&self) -> io::Result<File> {
        // Not O_APPEND, which takes nothing from a pipe.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(
            &self.directory,
            name(self.last),
            flags,
            Mode::from_raw_mode(0o600),
        )?;
        Ok(file.into())
    }
}

fn name(number: u32) -> String {
    format!("{number:08}.log")
}

fn numbers(directory: &OwnedFd) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        numbers.extend(
            name.strip_suffix(".log")
                .and_then(|number| number.parse::<u32>().ok()),
        );
    }
    Ok(numbers)
}

/// How many bytes of a file are whole frames, and the frame behind them whose header is whole and its data is not.
fn whole_frames(file: &mut File) -> io::Result<(u64, Option<Torn>)> {
    let length = file.metadata()?.len();
    let mut reader = io::BufReader::with_capacity(1 << 16, file);
    let mut whole = reader.seek(SeekFrom::Start(0))?;
    let mut header = [0; log::HEADER];
    loop {
        match reader.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok((whole, None)),
            other => other?,
        }
        let Some((stream, data, at_ms)) = log::parse(&header) else {
            return Ok((whole, None));
        };
        let begin = whole + log::HEADER as u64;
        let end = begin + data as u64;
        if end > length {
            let torn = Torn {
                stream,
                length: data as u64,
                moved: length - begin,
                at_ms,
            };
            return Ok((whole, Some(torn)));
        }
        reader.seek_relative(data as i64)?;
        whole = end;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    fn writer(path: &Path, max_file_bytes: u64, max_files: u32) -> LogWriter {
        let policy = LogPolicy {
            max_file_bytes,
            max_files,
        };
        LogWriter::open(File::open(path).expect("it is there").into(), policy).expect("it can be written")
    }

    fn files(path: &Path) -> Vec<(String, u64)> {
        let mut files: Vec<_> = std::fs::read_dir(path)
            .expect("it is there")
            .flatten()
            .map(|entry| {
                let length = entry.metadata().expect("it is there").len();
                (entry.file_name().to_string_lossy().into_owned(), length)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn files_are_begun_anew_and_the_oldest_deleted() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = writer(directory.path(), 100, 2);
        for _ in 0..5 {
            log.write(1, &[b'x'; 34], 7);
        }
        let expected = [("00000001.log".to_owned(), 100), ("00000002.log".to_owned(), 50)];
        assert_eq!(files(directory.path()), expected);
    }

    #[rstest]
    #[case::header(&[1, 0, 0, 0, 4, 0])]
    #[case::data(&[1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'x'])]
    #[case::garbage(&[9; 40])]
    fn a_torn_end_is_cut_off(#[case] torn: &[u8]) {
        let directory = tempfile::tempdir().expect("a directory");
        writer(directory.path(), 1000, 2).write(2, b"whole", 7);
        let path = directory.path().join("00000000.log");
        let whole = std::fs::read(&path).expect("it was written");
        std::fs::write(&path, [whole.as_slice(), torn].concat()).expect("it can be written");
        let mut log = writer(directory.path(), 1000, 2);
        assert_eq!(std::fs::read(&path).expect("it is there"), whole);
        log.write(1, b"next", 8);
        let expected = [whole.as_slice(), &log::header(1, 4, 8), b"next"].concat();
        assert_eq!(std::fs::read(&path).expect("it is there"), expected);
    }

    fn pipe(content: &[u8]) -> OwnedFd {
        let (read, write) = std::io::pipe().expect("a pipe");
        (&write).write_all(content).expect("it has room");
        let read = OwnedFd::from(read);
        rustix::io::ioctl_fionbio(&read, true).expect("a pipe");
        read
    }

    #[test]
    fn what_is_in_a_pipe_moves_into_a_frame() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = writer(directory.path(), 1000, 2);
        log.write(2, b"before", 6);
        let source = pipe(b"data");
        assert!(matches!(log.take(1, &source, 7), Taken::Some));
        assert!(matches!(log.take(1, &source, 8), Taken::Nothing));
        log.write(2, b"after", 9);
        let frames: [(u8, &[u8], u64); 3] = [(2, b"before", 6), (1, b"data", 7), (2, b"after", 9)];
        let expected: Vec<u8> = frames
            .iter()
            .flat_map(|(stream, data, at)| [&log::header(*stream, data.len() as u32, *at), *data].concat())
            .collect();
        let path = directory.path().join("00000000.log");
        assert_eq!(std::fs::read(path).expect("it was written"), expected);
    }

    /// Killed at each byte of a frame whose data moves out of a pipe.
    #[rstest]
    fn a_frame_goes_on_where_a_killed_shim_was(#[values(0, 1, 3, 4)] moved: usize) {
        let directory = tempfile::tempdir().expect("a directory");
        writer(directory.path(), 1000, 2).write(2, b"whole", 6);
        let path = directory.path().join("00000000.log");
        let before = std::fs::read(&path).expect("it was written");
        let torn = [before.as_slice(), &log::header(1, 4, 7), &b"data"[..moved]].concat();
        std::fs::write(&path, torn).expect("it can be written");
        let policy = LogPolicy {
            max_file_bytes: 1000,
            max_files: 2,
        };
        let sources = [
            (1, pipe(&[&b"data"[moved..], b"next"].concat())),
            (2, pipe(b"other")),
        ];
        let opened = File::open(directory.path()).expect("it is there");
        let mut log = LogWriter::adopt(opened.into(), policy, &sources).expect("it can be written");
        assert!(matches!(log.take(1, &sources[0].1, 8), Taken::Some));
        let expected = [
            before.as_slice(),
            &log::header(1, 4, 7),
            b"data",
            &log::header(1, 4, 8),
            b"next",
        ]
        .concat();
        assert_eq!(std::fs::read(&path).expect("it is there"), expected);
        assert!(matches!(log.take(2, &sources[1].1, 9), Taken::Some));
    }

    #[test]
    fn a_torn_frame_whose_pipe_is_gone_is_cut_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("00000000.log");
        std::fs::write(&path, [&log::header(1, 4, 7)[..], b"da"].concat()).expect("it can be written");
        let policy = LogPolicy {
            max_file_bytes: 1000,
            max_files: 2,
        };
        let opened = File::open(directory.path()).expect("it is there");
        LogWriter::adopt(opened.into(), policy, &[]).expect("it can be written");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"");
    }

    /// Without space for all of it: what has moved stays, the workload can write on.
    #[test]
    fn a_full_file_system_drops_the_rest() {
        use std::os::unix::process::CommandExt;
        const CHILD: &str = "DRIVER_LOCAL_SHIM_TEST_FULL";
        if let Some(path) = std::env::var_os(CHILD) {
            return limited(Path::new(&path));
        }
        let directory = tempfile::tempdir().expect("a directory");
        let limits = "ulimit -f 8; exec \"$0\" \"$@\"";
        let own = std::env::current_exe().expect("this program");
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", limits])
            .arg(own)
            .args(["--exact", "logs::tests::a_full_file_system_drops_the_rest"])
            .env(CHILD, directory.path())
            .process_group(0)
            .status();
        assert!(status.expect("a shell").success());
    }

    /// In a process whose files get no longer than 4096 bytes.
    fn limited(directory: &Path) {
        // Else it is ended where a write is refused.
        nix::sys::signal::SigSet::all().thread_block().expect("a mask");
        let mut log = writer(directory, 1 << 20, 2);
        let source = pipe(&[b'x'; 6000]);
        assert!(matches!(log.take(1, &source, 7), Taken::Some));
        assert!(matches!(log.take(1, &source, 8), Taken::Nothing));
        let written = std::fs::read(directory.join("00000000.log")).expect("it was written");
        assert_eq!(
            written[..log::HEADER],
            log::header(1, (4096 - log::HEADER) as u32, 7)
        );
        assert_eq!(written.len(), 4096);
    }
}
