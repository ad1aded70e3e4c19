//! The frames of a log in order, over its files: those that are there, or also those to come.
//!
//! Files are numbered upwards; the oldest may be deleted at any time. What was opened is read to its end all the same.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{Frame, LogFile, numbers, open_all};

/// A place in a log.
#[derive(Debug)]
pub(super) struct Reader {
    directory: PathBuf,
    /// The file that is read, and those after it that are open.
    files: VecDeque<LogFile>,
    /// Whether what is written from now on is read too.
    follow: bool,
}

impl Reader {
    /// After the newest frame that is whole.
    pub(super) fn at_end(directory: &Path) -> io::Result<Self> {
        let mut newest = open_all(directory)?.pop_back();
        if let Some(newest) = &mut newest {
            newest.skip_all()?;
        }
        Ok(Self::over(directory, newest.into_iter().collect(), true))
    }

    /// From where these files were read to. Without `follow` it reads what is there now, and ends, however fast more is written.
    pub(super) fn over(directory: &Path, mut files: VecDeque<LogFile>, follow: bool) -> Self {
        // Only the newest can grow.
        if follow && let Some(newest) = files.back_mut() {
            newest.end = u64::MAX;
        }
        Self {
            directory: directory.to_owned(),
            files,
            follow,
        }
    }

    /// The next frames; none where there is nothing more now.
    pub(super) fn read(&mut self) -> io::Result<Vec<Frame>> {
        loop {
            // Before the file is read: a newer one means that nothing more comes in this one.
            if self.follow && self.files.len() < 2 {
                self.open_newer()?;
            }
            let Some(file) = self.files.front_mut() else {
                return Ok(Vec::new());
            };
            let frames = file.read()?;
            if !frames.is_empty() || self.files.len() < 2 {
                return Ok(frames);
            }
            // A frame that its writer did not finish was torn by a crash.
            self.files.pop_front();
        }
    }

    fn open_newer(&mut self) -> io::Result<()> {
        let now = self.files.back().map(|file| file.number);
        for number in numbers(&self.directory)? {
            if now.is_none_or(|now| number > now)
                && let Some(mut file) = LogFile::open(&self.directory, number)?
            {
                file.end = u64::MAX;
                self.files.push_back(file);
                return Ok(());
            }
        }
        Ok(())
    }
}
