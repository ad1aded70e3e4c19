//! Reading and writing the files of a cgroup, and removing one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// How long a group may be busy: the kernel lets go of a killed process soon, but not at once.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// How often a group is looked at that is to be empty.
const VACATE_ROUNDS: u32 = 100;
/// The processes of a group.
const PROCESSES: &str = "cgroup.procs";

/// Writes a value. The error names the file.
pub(super) fn write(directory: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    let path = directory.join(file);
    fs::write(&path, value.to_string()).map_err(|error| named(&path, &error))
}

/// Reads a file. The error names it.
pub(super) fn read(directory: &Path, file: &str) -> io::Result<String> {
    let path = directory.join(file);
    fs::read_to_string(&path).map_err(|error| named(&path, &error))
}

/// A number in a file of its own; absent where the file is, or where it says `max`.
pub(super) fn number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// The number after a key in lines of `key number`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Makes a group. A repeat does nothing.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|error| named(directory, &error)),
    }
}

/// Makes a group and those above it that are missing.
pub(super) fn make_all(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory).map_err(|error| named(directory, &error))
}

/// Waits until a file of lines `key number` (version 2: `cgroup.events`) has this number. The kernel tells of changes.
pub(super) fn await_keyed(path: &Path, key: &str, wanted: u64, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    let mut file = File::open(path).map_err(|error| named(path, &error))?;
    loop {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)
            .map_err(|error| named(path, &error))?;
        if keyed(&text, key) == Some(wanted) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = format!("{}: {key} does not become {wanted}", path.display());
            return Err(io::Error::new(ErrorKind::TimedOut, message));
        }
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(named(path, &error.into())),
        }
    }
}

/// Takes all processes of a group of version 2 into a leaf below it. Limits stay: those of a group hold for all below.
pub(super) fn vacate(group: &Path, leaf: &str) -> io::Result<()> {
    let leaf = group.join(leaf);
    make(&leaf)?;
    // Again: who is made meanwhile begins where its parent was.
    for _ in 0..VACATE_ROUNDS {
        let processes = read(group, PROCESSES)?;
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes.lines() {
            // One that this process cannot see; written, it would be this process.
            if process == "0" {
                break;
            }
            match fs::write(leaf.join(PROCESSES), process) {
                // It has ended.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {}
                written => written.map_err(|error| named(&leaf, &error))?,
            }
        }
    }
    let message = format!("{}: processes of others are in it", group.display());
    Err(io::Error::new(ErrorKind::ResourceBusy, message))
}

/// Removes a group and those below it. Where processes are in them, `kill` is to end them all. A group that is not there
/// is removed.
pub(super) fn remove(directory: &Path, kill: &impl Fn()) -> io::Result<()> {
    let deadline = Instant::now() + BUSY_LIMIT;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {}
            Err(error) => return Err(named(directory, &error)),
        }
        kill();
        for below in below(directory) {
            remove(&below, kill)?;
        }
        // Version 1 does not tell when a group is empty.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let directories = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        entry.file_type().ok()?.is_dir().then(|| entry.path())
    });
    directories.collect()
}

/// Kills whoever is in a group now, and in those below it.
pub(super) fn kill(directory: &Path) {
    below(directory).iter().for_each(|below| kill(below));
    let pids = fs::read_to_string(directory.join(PROCESSES)).unwrap_or_default();
    for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The error with the name of the file. A group that was removed while it was read is gone.
fn named(path: &Path, error: &io::Error) -> io::Error {
    let kind = match Errno::from_io_error(error) {
        Some(Errno::NODEV) => ErrorKind::NotFound,
        _ => error.kind(),
    };
    io::Error::new(kind, format!("{}: {error}", path.display()))
}
