//! Version 2: one directory for a container.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use driver_local_shim::Cgroup;
use driver_types::{ContainerStats, ResourceLimits, Support};

use super::{Held, OWN, PERIOD_US, bytes, files, quota_us, stats};

/// How long processes may take to freeze.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

/// This driver's directory, with the controllers enabled below it.
#[derive(Clone, Debug)]
pub(crate) struct V2 {
    own: PathBuf,
}

impl V2 {
    /// Makes this driver's directory below `parent` and enables controllers in it.
    pub(super) fn prepare(parent: &Path, controllers: &[&str]) -> io::Result<Self> {
        let own = parent.join(OWN);
        let wanted: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
        let wanted = wanted.join(" ");
        // Before the directory: where the parent refuses, nothing is left.
        files::write(parent, "cgroup.subtree_control", &wanted)?;
        // For statistics only, so without it, it does as well.
        let _ = files::write(parent, "cgroup.subtree_control", "+io");
        files::make(&own)?;
        files::write(&own, "cgroup.subtree_control", &wanted)?;
        let _ = files::write(&own, "cgroup.subtree_control", "+io");
        Ok(Self { own })
    }

    pub(super) fn held(&self) -> Held {
        Held {
            cpu: Support::native(),
            memory: Support::native(),
            pids: Support::native(),
            freezer: Support::native(),
        }
    }

    pub(super) fn directory(&self, id: &str) -> PathBuf {
        self.own.join(id)
    }

    pub(super) fn groups(&self, id: &str) -> Vec<Cgroup> {
        vec![Cgroup::V2(self.directory(id).to_string_lossy().into_owned())]
    }

    pub(super) fn create(&self, id: &str, limits: &ResourceLimits) -> io::Result<Vec<Cgroup>> {
        files::make(&self.directory(id))?;
        self.limit(id, limits)?;
        Ok(self.groups(id))
    }

    pub(super) fn limit(&self, id: &str, limits: &ResourceLimits) -> io::Result<()> {
        let directory = self.directory(id);
        // The kernel would kill to reach a limit below what is in use, rather than refuse it.
        let wanted = bytes(limits.memory);
        if files::number(&directory, "memory.current").is_some_and(|current| current > wanted) {
            let message = format!(
                "{}: more than {wanted} bytes are in use",
                directory.join("memory.max").display()
            );
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        files::write(&directory, "memory.max", wanted)?;
        if directory.join("memory.swap.max").exists() {
            files::write(&directory, "memory.swap.max", 0)?;
        }
        files::write(
            &directory,
            "cpu.max",
            format!("{} {PERIOD_US}", quota_us(limits.cpu)),
        )?;
        files::write(&directory, "pids.max", limits.pids)
    }

    pub(super) fn set_frozen(&self, id: &str, frozen: bool) -> io::Result<()> {
        let directory = self.directory(id);
        files::write(&directory, "cgroup.freeze", u8::from(frozen))?;
        let begin = Instant::now();
        loop {
            let events = files::read(&directory, "cgroup.events")?;
            if files::keyed(&events, "frozen") == Some(u64::from(frozen)) {
                return Ok(());
            }
            if begin.elapsed() > FREEZE_LIMIT {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "a process does not freeze",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn stats(&self, id: &str) -> io::Result<ContainerStats> {
        let directory = self.directory(id);
        fs::metadata(&directory)?;
        let cpu = files::read(&directory, "cpu.stat")?;
        let micros = |key| files::keyed(&cpu, key).map(|micros| micros.saturating_mul(1000));
        let events = files::read(&directory, "memory.events").unwrap_or_default();
        let mut read = ContainerStats {
            time: crate::time::now_ms(),
            ..ContainerStats::default()
        };
        read.cpu.usage_nanos = micros("usage_usec");
        read.cpu.throttled_nanos = micros("throttled_usec");
        read.cpu.throttled_periods = files::keyed(&cpu, "nr_throttled");
        read.memory.current_bytes = files::number(&directory, "memory.current");
        read.memory.peak_bytes = files::number(&directory, "memory.peak");
        read.memory.limit_bytes = files::number(&directory, "memory.max");
        read.memory.oom_kills = files::keyed(&events, "oom_kill");
        read.pids.current = files::number(&directory, "pids.current");
        read.pids.limit = files::number(&directory, "pids.max");
        if let Ok(text) = files::read(&directory, "io.stat") {
            read.block_io = stats::block_io_v2(&text);
        }
        Ok(read)
    }
}
