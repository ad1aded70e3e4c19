//! Kills for lack of memory, as the memory cgroup counts them.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use driver_local_shim::Cgroup;
use rustix::event::{EventfdFlags, PollFlags, eventfd};

/// A memory cgroup that is watched.
pub(crate) struct OomWatch {
    /// `memory.events` or `memory.oom_control`: has a line `oom_kill N`.
    counter: File,
    /// Of version 1: the kernel adds to it.
    event: Option<OwnedFd>,
    seen: u64,
}

impl OomWatch {
    /// Watches the memory cgroup among `cgroups`, if there is one.
    pub(crate) fn open(cgroups: &[Cgroup]) -> Option<Self> {
        cgroups.iter().find_map(|cgroup| {
            let (counter, event) = match cgroup {
                Cgroup::V1(path) => {
                    let counter = File::open(format!("{path}/memory.oom_control")).ok()?;
                    // Without an event the counter is still read at the end.
                    let event = register(path, &counter).ok();
                    (counter, event)
                }
                Cgroup::V2(path) => (File::open(format!("{path}/memory.events")).ok()?, None),
                Cgroup::Shared(_) => return None,
            };
            let mut watch = Self {
                counter,
                event,
                seen: 0,
            };
            watch.seen = watch.count().unwrap_or(0);
            Some(watch)
        })
    }

    /// Likewise, and counts what happened before.
    pub(crate) fn open_from_start(cgroups: &[Cgroup]) -> Option<Self> {
        Self::open(cgroups).map(|watch| Self { seen: 0, ..watch })
    }

    /// What to poll, and for what.
    pub(crate) fn poll(&self) -> (std::os::fd::BorrowedFd<'_>, PollFlags) {
        use std::os::fd::AsFd;
        match &self.event {
            Some(event) => (event.as_fd(), PollFlags::IN),
            None => (self.counter.as_fd(), PollFlags::PRI),
        }
    }

    /// Whether a process was killed since the last call.
    pub(crate) fn has_killed(&mut self) -> bool {
        if let Some(event) = &self.event {
            // Not blocking; takes back what made the poll return.
            let _ = rustix::io::read(event, &mut [0; 8]);
        }
        let before = self.seen;
        self.seen = self.count().unwrap_or(before);
        self.seen > before
    }

    fn count(&self) -> Option<u64> {
        let mut text = [0; 512];
        let length = self.counter.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?
            .trim()
            .parse()
            .ok()
    }
}

fn register(path: &str, counter: &File) -> io::Result<OwnedFd> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let line = format!("{} {}", event.as_raw_fd(), counter.as_raw_fd());
    std::fs::write(format!("{path}/cgroup.event_control"), line)?;
    Ok(event)
}
