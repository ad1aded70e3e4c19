//! The kernel's word on out-of-memory kills, for an engine on this machine.
//!
//! containerd begins to listen for them only after the start: a program that exceeds its memory at once is killed
//! without the engine noticing. The kernel writes a record before it kills, so that it is there when the engine tells
//! the death. It writes at most ten of them in five seconds: this is a source beside the engine, not instead of it.
//!
//! Two ways to ask. [`KernelLog::take`] is for a run whose beginning or end the driver saw: what came since is of that
//! run, and no clock is compared. [`KernelLog::told_between`] is for any other run, by time.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::time::{ClockId, clock_gettime};

use crate::Host;
use crate::kernel_record::{Lines, Oom};
use crate::time::now_ms;

const PATH: &str = "/dev/kmsg";
/// More than the kernel puts into one record; a read of less is refused.
const RECORD_BYTES: usize = 8192;
/// Containers whose kills nobody has asked for yet: those of other owners and engines are among them.
const UNASKED: usize = 1024;

/// The log of the machine that the driver runs on.
#[derive(Debug)]
pub(crate) struct KernelLog {
    /// What comes from the opening on, or why nothing can be read.
    reader: Result<Mutex<Reader>, String>,
    /// What came before, read when it is first asked for.
    earlier: OnceLock<Vec<Oom>>,
    /// In epoch milliseconds.
    pub(crate) opened_at: u64,
}

#[derive(Debug)]
struct Reader {
    file: File,
    lines: Lines,
    /// The last kill in each container that was not taken yet, in microseconds of the kernel's clock.
    kills: HashMap<String, u64>,
}

impl KernelLog {
    /// Opens the log where the engine is on this machine. What is there already is passed over.
    pub(crate) fn open(host: &Host) -> Self {
        let reader = match host {
            Host::Unix(_) => Reader::open(SeekFrom::End(0))
                .map(Mutex::new)
                .map_err(|error| format!("cannot read {PATH}: {error}")),
            Host::Tcp(_) => Err("the engine may be on another machine".to_owned()),
        };
        Self {
            reader,
            earlier: OnceLock::new(),
            opened_at: now_ms(),
        }
    }

    /// Why nothing can be read.
    pub(crate) fn unreadable(&self) -> Option<&str> {
        self.reader.as_ref().err().map(String::as_str)
    }

    /// Whether the kernel has killed for the memory limit of this container since that was last asked.
    pub(crate) fn take(&self, container: &str) -> bool {
        self.read_on(|kills| kills.remove(container)).flatten().is_some()
    }

    /// The last time that it has within this time, in epoch milliseconds, and after the kill `taken`: by the kernel's
    /// clock, in microseconds. That clock and the machine's drift apart: give or take what they may.
    pub(crate) fn told_between(
        &self,
        container: &str,
        from: u64,
        to: u64,
        taken: Option<u64>,
    ) -> Option<u64> {
        let is_then = |micros: &u64| Some(*micros) > taken && (from..=to).contains(&epoch_ms(*micros));
        let since = self.read_on(|kills| kills.get(container).copied()).flatten();
        let before = if from < self.opened_at {
            self.earlier()
        } else {
            &[]
        };
        let ours = before.iter().filter(|oom| oom.container == container);
        let all = ours.map(|oom| oom.micros).chain(since);
        all.filter(is_then).max()
    }

    /// A container is gone.
    pub(crate) fn forget(&self, container: &str) {
        self.read_on(|kills| kills.remove(container));
    }

    fn read_on<T>(&self, look: impl FnOnce(&mut HashMap<String, u64>) -> T) -> Option<T> {
        let mut reader = self
            .reader
            .as_ref()
            .ok()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reader.read_new();
        Some(look(&mut reader.kills))
    }

    fn earlier(&self) -> &[Oom] {
        self.earlier.get_or_init(|| {
            let mut found = Vec::new();
            if self.reader.is_ok()
                && let Ok(mut reader) = Reader::open(SeekFrom::Start(0))
            {
                reader.read_all(|oom| found.push(oom));
            }
            found
        })
    }
}

impl Reader {
    fn open(from: SeekFrom) -> std::io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(PATH)?;
        file.seek(from)?;
        Ok(Self {
            file,
            lines: Lines::default(),
            kills: HashMap::new(),
        })
    }

    fn read_new(&mut self) {
        let mut found = Vec::new();
        self.read_all(|oom| found.push(oom));
        for oom in found {
            self.kills.insert(oom.container, oom.micros);
        }
        while self.kills.len() > UNASKED {
            let oldest = self.kills.iter().min_by_key(|(_, micros)| **micros);
            let Some(oldest) = oldest.map(|(container, _)| container.clone()) else {
                return;
            };
            self.kills.remove(&oldest);
        }
    }

    /// Reads all records that there are. One read is one record.
    fn read_all(&mut self, mut found: impl FnMut(Oom)) {
        let mut record = [0; RECORD_BYTES];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return,
                Ok(length) => {
                    if let Some(oom) = record.get(..length).and_then(|record| self.lines.push(record)) {
                        found(oom);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Records were overwritten before they were read; the next read is of the oldest that is left.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {
                    self.lines = Lines::default()
                }
                // No more for now (EAGAIN), or nothing that a later read could not find as well.
                Err(_) => return,
            }
        }
    }
}

/// A time of the kernel's log, which counts from boot and not while the machine sleeps.
fn epoch_ms(micros: u64) -> u64 {
    let uptime = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        let ms = time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000;
        u64::try_from(ms).unwrap_or_default()
    });
    now_ms().saturating_sub(uptime).saturating_add(micros / 1000)
}
