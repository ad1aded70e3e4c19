//! Holding a directory to a limit by a project quota.
//!
//! Who is to have an id is told by the file system alone: an id is free that no file has. Of several that take the same one at
//! the same time each sees more than its own directory, and goes on to the next. So applications need not know of each
//! other, and after a crash at any moment the directory itself tells what is to be undone.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{PROJECTS, QuotaChange, QuotaTask, Stage};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::failure::{At, Failure, Result};
use crate::run::tell_end;
use crate::sys;

/// How many ids are tried: far more than there are containers that begin with the same digits.
const TRIES: u32 = 1000;

/// A file may be empty, but is not for nothing: as many as blocks of this size.
const BYTES_PER_FILE: u64 = 4096;
const MIN_FILES: u64 = 64;

/// The limit of an attempt, and what is written then.
const TRIED_BYTES: usize = 1 << 20;

/// Does it, and tells.
pub(crate) fn quota(task: &QuotaTask, driver: &OwnedFd) -> ExitCode {
    tell_end(driver, changed(task))
}

fn changed(task: &QuotaTask) -> Result<()> {
    let name = &task.directory;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, name, flags, Mode::empty()).at(Stage::Root, || name)?;
    match task.change {
        QuotaChange::Begin { first, bytes } => begin(&directory, first, bytes),
        QuotaChange::Set { bytes } => set(&directory, bytes),
        QuotaChange::Try { first } => {
            let tried = begin(&directory, first, TRIED_BYTES as u64).and_then(|()| bites(&directory));
            set(&directory, 0).and(tried)
        }
    }
}

/// The id comes first, then the limit: a limit whose project has no files is nobody's any more.
fn begin(directory: &OwnedFd, first: u32, bytes: u64) -> Result<()> {
    for id in candidates(first) {
        sys::set_project(directory, id, true).at(Stage::Root, || "setting a project id")?;
        let files = sys::quota_files(directory, id).at(Stage::Root, || "reading a project quota")?;
        if files == 1 {
            return limit(directory, id, bytes);
        }
    }
    sys::set_project(directory, 0, false).at(Stage::Root, || "taking back a project id")?;
    Err(Failure::new(
        Stage::Root,
        format!("{TRIES} project ids from {} on are taken", first_of(first)),
    ))
}

fn candidates(first: u32) -> impl Iterator<Item = u32> {
    (0..TRIES).map(move |step| first_of(first.wrapping_add(step)))
}

/// Behind the last one the first one comes again.
fn first_of(number: u32) -> u32 {
    PROJECTS.start + number % (PROJECTS.end - PROJECTS.start)
}

fn set(directory: &OwnedFd, bytes: u64) -> Result<()> {
    match sys::project(directory).at(Stage::Root, || "reading a project id")? {
        id if PROJECTS.contains(&id) => limit(directory, id, bytes),
        _ => Ok(()),
    }
}

fn limit(directory: &OwnedFd, id: u32, bytes: u64) -> Result<()> {
    let files = match bytes {
        0 => 0,
        bytes => (bytes / BYTES_PER_FILE).max(MIN_FILES),
    };
    sys::set_quota(directory, id, bytes, files).at(Stage::Root, || "setting a project quota")
}

/// Whether the limit holds. As in a container: without the right to go beyond it.
fn bites(directory: &OwnedFd) -> Result<()> {
    const NAME: &str = "beyond";
    let lower = || -> rustix::io::Result<()> {
        let mut sets = capabilities(None)?;
        sets.effective.remove(CapabilitySet::SYS_RESOURCE);
        set_capabilities(None, sets)
    };
    lower().at(Stage::Privileges, || "giving up SYS_RESOURCE")?;
    let write = || -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(directory, NAME, flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(&vec![1; 2 * TRIED_BYTES])
    };
    let written = write();
    unlinkat(directory, NAME, AtFlags::empty()).at(Stage::Root, || "removing what was written")?;
    let refused = written.err().and_then(|error| Errno::from_io_error(&error));
    match refused {
        Some(Errno::DQUOT | Errno::NOSPC) => Ok(()),
        Some(error) => Err(error).at(Stage::Root, || "writing below a project quota"),
        None => Err(Failure::new(
            Stage::Root,
            "a write beyond a project quota is not refused",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_tried_are_ours_and_differ() {
        for first in [0, 7, 0xf_ffff, u32::MAX - 3] {
            let mut tried: Vec<u32> = candidates(first).collect();
            assert!(tried.iter().all(|id| PROJECTS.contains(id)));
            tried.sort_unstable();
            tried.dedup();
            assert_eq!(tried.len(), TRIES as usize);
        }
    }
}
