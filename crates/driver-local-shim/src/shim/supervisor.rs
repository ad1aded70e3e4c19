//! Watching a run: output into the log, requests, kills for memory, and the end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use driver_local_shim::{SOCKET, record};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cgroups;
use crate::clock::now_ms;
use crate::ending::Ending;
use crate::logs::Taken;
use crate::run::{EXIT, Run};
use crate::streams::{ERR, OUT};
use crate::sys::Child;
use crate::wall::Needs;

/// After this long without output its buffer is given back.
const IDLE: Duration = Duration::from_secs(1);

/// The kernel tells of a lack of memory a moment before it has killed, with version 1.
const OOM_TICK: Duration = Duration::from_millis(10);
const OOM_TICKS: u8 = 100;

/// A run that has begun.
pub(crate) struct Supervisor {
    /// The container's first process: a child, or one that was adopted. Absent: it has ended.
    child: Option<Child>,
    /// Where init tells how the main process ended.
    exit: Option<OwnedFd>,
    buffer: Vec<u8>,
    oom: bool,
    /// How often to look for a kill that was announced.
    oom_looks: u8,
    run: Run,
}

/// What poll found.
#[derive(Default)]
struct Ready {
    timeout: bool,
    ended: bool,
    oom: bool,
    server: bool,
    sources: Vec<usize>,
}

impl Supervisor {
    pub(crate) fn new(run: Run, child: Option<Child>, exit: Option<OwnedFd>) -> Self {
        Self {
            child,
            exit,
            buffer: Vec::new(),
            oom: false,
            oom_looks: 0,
            run,
        }
    }

    /// What it needs from here on.
    pub(crate) fn needs(&self) -> Needs<'_> {
        Needs {
            directory: self.run.directory.as_fd(),
            log: self.run.log.directory(),
            cgroups: &self.run.cgroups,
        }
    }

    /// Watches until the end, and writes it down.
    pub(crate) fn watch(mut self) {
        loop {
            let ready = self.wait();
            if ready.oom {
                self.oom_looks = OOM_TICKS;
            }
            if ready.oom || self.oom_looks > 0 {
                self.oom_looks = self.oom_looks.saturating_sub(1);
                self.look_for_oom();
            }
            if ready.timeout && self.oom_looks == 0 {
                self.buffer = Vec::new();
            }
            for source in ready.sources {
                self.pump(source);
            }
            if ready.server {
                self.run.server.serve(&mut self.run.streams);
            }
            if ready.ended {
                return self.finish();
            }
        }
    }

    fn wait(&self) -> Ready {
        let streams = &self.run.streams;
        let Some(child) = &self.child else {
            return Ready {
                ended: true,
                ..Ready::default()
            };
        };
        let mut fds = vec![PollFd::new(&child.pidfd, PollFlags::IN)];
        fds.extend(
            streams
                .sources
                .iter()
                .map(|(_, source)| PollFd::new(source, PollFlags::IN)),
        );
        let oom = self.run.oom.as_ref().map(|oom| oom.poll());
        if let Some((fd, flags)) = &oom {
            fds.push(PollFd::new(fd, *flags));
        }
        let after_oom = fds.len();
        let server: Vec<_> = self.run.server.fds().collect();
        fds.extend(server.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = self.timeout();
        let found = poll(&mut fds, timeout.as_ref());
        let is_ready = |index: usize| !fds[index].revents().is_empty();
        match found {
            Ok(0) => Ready {
                timeout: true,
                ..Ready::default()
            },
            Ok(_) => Ready {
                timeout: false,
                ended: is_ready(0),
                oom: oom.is_some() && is_ready(after_oom - 1),
                server: (after_oom..fds.len()).any(is_ready),
                sources: (0..streams.sources.len())
                    .filter(|source| is_ready(1 + source))
                    .collect(),
            },
            // Only a lack of memory can be the reason; the next try may find some.
            Err(_) => Ready::default(),
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let oom = (self.oom_looks > 0).then_some(OOM_TICK);
        let idle = (self.buffer.capacity() > 0).then_some(IDLE);
        Timespec::try_from(oom.into_iter().chain(idle).min()?).ok()
    }

    /// Takes what is there of a source, up to a frame. Whether there was something.
    fn pump(&mut self, source: usize) -> bool {
        let (stream, fd) = &self.run.streams.sources[source];
        // A terminal is no pipe.
        if self.run.streams.terminal.is_none() {
            match self.run.log.take(*stream, fd, now_ms()) {
                Taken::Some => return true,
                Taken::Nothing => return false,
                Taken::MustBeRead => {}
            }
        }
        self.buffer.clear();
        // Not filled with zeros: what is not read into is never touched.
        self.buffer.reserve_exact(self.run.log.max_data());
        match rustix::io::read(fd, spare_capacity(&mut self.buffer)) {
            Ok(0) => false,
            Ok(_) => {
                self.run.log.write(*stream, &self.buffer, now_ms());
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // The terminal was hung up: nothing will come from it any more.
            Err(_) => {
                self.run.streams.sources.remove(source);
                false
            }
        }
    }

    fn look_for_oom(&mut self) {
        if self.run.oom.as_mut().is_some_and(|oom| oom.has_killed()) {
            self.oom_looks = 0;
            if !self.oom {
                self.oom = true;
                // Without space for it the record of the exit says the same.
                let _ = self
                    .run
                    .directory
                    .append(&record::out_of_memory(self.run.number, now_ms()));
            }
        }
    }

    /// Everything that ran in the container is gone with its pid 1. In this order: log, cgroups, network, record.
    pub(crate) fn finish(mut self) {
        let at = now_ms();
        let ending = self.ending();
        for source in (0..self.run.streams.sources.len()).rev() {
            while self.pump(source) {}
        }
        self.look_for_oom();
        let clean = cgroups::remove(&self.run.cgroups);
        self.run.directory.await_helper(self.run.helper.as_ref());
        for name in [SOCKET, OUT, ERR] {
            self.run.directory.remove(name);
        }
        // Whoever reads it may begin the next run, as soon as this process has let go of the lock.
        let number = self.run.number;
        let record = match ending {
            Some(ending) => record::exited(number, ending.code, ending.signal, self.oom, clean, at),
            None => record::lost(number, at),
        };
        let _ = self.run.directory.append(&record);
        // Not before: if this process is killed in between, the next one finds the end there.
        self.run.directory.remove(EXIT);
    }

    fn ending(&self) -> Option<Ending> {
        let status = self.child.as_ref().and_then(Child::wait);
        let mut told = [0; 2];
        let exit = self.exit.as_ref();
        // Init has told before it ended; one that was killed could not.
        if exit.is_some_and(|exit| matches!(rustix::io::read(exit, &mut told), Ok(2))) {
            return Some(Ending::from_bytes(told));
        }
        let ending = match (status, &self.child) {
            (Some(status), _) => Some(Ending::of(status.exit_status(), status.terminating_signal())),
            (None, Some(child)) => child.end_of_stranger(),
            (None, None) => None,
        };
        if let (Some(ending), Some(exit)) = (ending, exit) {
            // The kernel tells it only once. Into a pipe nothing can be written from this end.
            let _ = rustix::io::write(exit, &ending.to_bytes());
        }
        ending
    }
}
