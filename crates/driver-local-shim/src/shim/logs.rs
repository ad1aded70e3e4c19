//! Writing the log: frames, in files that are begun anew at a size.

use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;

use driver_local_shim::{LogPolicy, log};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};

/// The log of a container, to append to.
pub(crate) struct LogWriter {
    directory: OwnedFd,
    policy: LogPolicy,
    /// The files there are; the last one is written to.
    first: u32,
    last: u32,
    file: Option<File>,
    size: u64,
}

impl LogWriter {
    /// Goes on with the last file, without the torn frame that a killed shim may have left at its end.
    pub(crate) fn open(directory: OwnedFd, policy: LogPolicy) -> io::Result<Self> {
        let numbers = numbers(&directory)?;
        let last = numbers.iter().max().copied();
        let mut writer = Self {
            directory,
            policy,
            first: numbers.iter().min().copied().unwrap_or(0),
            last: last.unwrap_or(0),
            file: None,
            size: 0,
        };
        if last.is_some() {
            let mut file = writer.open_last()?;
            writer.size = whole_frames(&mut file)?;
            file.set_len(writer.size)?;
            writer.file = Some(file);
        }
        Ok(writer)
    }

    /// The longest data that one frame should have: a file never gets much longer than the policy says.
    pub(crate) fn max_data(&self) -> usize {
        let file = usize::try_from(self.policy.max_file_bytes).unwrap_or(usize::MAX);
        file.saturating_sub(log::HEADER).clamp(4096, log::MAX_DATA)
    }

    /// Appends a frame. Where it cannot be written, for want of space, it is dropped whole: the log stays readable, and
    /// the workload runs on.
    pub(crate) fn write(&mut self, stream: u8, data: &[u8], at_ms: u64) {
        let length = (log::HEADER + data.len()) as u64;
        if self.size > 0 && self.size + length > self.policy.max_file_bytes {
            self.rotate();
        }
        let header = log::header(stream, data.len() as u32, at_ms);
        if self.append(&header, data).is_ok() {
            self.size += length;
        } else if let Some(file) = &self.file
            && file.set_len(self.size).is_err()
        {
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
            match rustix::io::writev(file, &rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(rustix::io::Errno::INTR) => {}
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
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
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

/// How many bytes of a file are whole frames.
fn whole_frames(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut reader = io::BufReader::with_capacity(1 << 16, file);
    let mut whole = reader.seek(SeekFrom::Start(0))?;
    let mut header = [0; log::HEADER];
    loop {
        match reader.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(whole),
            other => other?,
        }
        let Some((_, data, _)) = log::parse(&header) else {
            return Ok(whole);
        };
        let end = whole + (log::HEADER + data) as u64;
        if end > length {
            return Ok(whole);
        }
        reader.seek_relative(data as i64)?;
        whole = end;
    }
}

#[cfg(test)]
mod tests {
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
}
