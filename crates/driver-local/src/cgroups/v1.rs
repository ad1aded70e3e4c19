//! Version 1: a directory for each controller.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use driver_local_shim::Cgroup;
use driver_types::{ContainerStats, ResourceLimits, Support};

use super::{Held, PERIOD_US, bytes, files, quota_us, stats};

/// How long processes may take to freeze.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);
/// The devices that a container may use (the OCI runtime specification's default devices, and those of terminals).
const DEVICES: [&str; 9] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// The controllers that are mounted and can be written, each with this driver's directory in it.
#[derive(Clone, Debug)]
pub(crate) struct V1 {
    controllers: BTreeMap<&'static str, PathBuf>,
}

impl V1 {
    pub(super) fn new(controllers: BTreeMap<&'static str, PathBuf>) -> Self {
        Self { controllers }
    }

    pub(super) fn held(&self) -> Held {
        let of = |name: &str| match self.controllers.contains_key(name) {
            true => Support::native(),
            false => Support::none(format!(
                "the cgroup controller {name} is not mounted, or cannot be written; mount it and run as root"
            )),
        };
        Held {
            cpu: of("cpu"),
            memory: match (of("memory"), self.limits_swap()) {
                (memory, true) => memory,
                (memory, false) if memory.is_supported() => Support::emulated(
                    "the kernel does not limit swap beside memory; boot it with swapaccount=1",
                ),
                (memory, false) => memory,
            },
            pids: of("pids"),
            freezer: of("freezer"),
        }
    }

    fn limits_swap(&self) -> bool {
        let memory = self.controllers.get("memory");
        memory.is_some_and(|parent| parent.join("memory.memsw.limit_in_bytes").exists())
    }

    fn directory(&self, controller: &str, id: &str) -> Option<PathBuf> {
        Some(self.controllers.get(controller)?.join(id))
    }

    pub(super) fn directories(&self, id: &str) -> Vec<PathBuf> {
        self.controllers.values().map(|parent| parent.join(id)).collect()
    }

    pub(super) fn groups(&self, id: &str) -> Vec<Cgroup> {
        let text = |path: PathBuf| Cgroup::V1(path.to_string_lossy().into_owned());
        self.directories(id).into_iter().map(text).collect()
    }

    pub(super) fn create(&self, id: &str, limits: &ResourceLimits) -> io::Result<Vec<Cgroup>> {
        for directory in self.directories(id) {
            files::make(&directory)?;
        }
        self.limit(id, limits, None)?;
        if let Some(devices) = self.directory("devices", id) {
            files::write(&devices, "devices.deny", "a")?;
            for device in DEVICES {
                files::write(&devices, "devices.allow", device)?;
            }
        }
        Ok(self.groups(id))
    }

    /// Sets the limits. `before` are those that hold now, if any do.
    pub(super) fn limit(
        &self,
        id: &str,
        limits: &ResourceLimits,
        before: Option<&ResourceLimits>,
    ) -> io::Result<()> {
        if let Some(memory) = self.directory("memory", id) {
            let grows = before.is_some_and(|before| limits.memory > before.memory);
            self.limit_memory(&memory, bytes(limits.memory), grows)?;
        }
        if let Some(cpu) = self.directory("cpu", id) {
            files::write(&cpu, "cpu.cfs_period_us", PERIOD_US)?;
            files::write(&cpu, "cpu.cfs_quota_us", quota_us(limits.cpu))?;
        }
        match self.directory("pids", id) {
            Some(pids) => files::write(&pids, "pids.max", limits.pids),
            None => Ok(()),
        }
    }

    /// Memory and memory with swap: the second may never be less than the first, so the order depends on the direction.
    fn limit_memory(&self, memory: &Path, bytes: u64, grows: bool) -> io::Result<()> {
        let mut files = vec!["memory.limit_in_bytes"];
        if self.limits_swap() {
            files.push("memory.memsw.limit_in_bytes");
        }
        if grows {
            files.reverse();
        }
        files
            .into_iter()
            .try_for_each(|file| files::write(memory, file, bytes))
    }

    pub(super) fn set_frozen(&self, id: &str, frozen: bool) -> io::Result<()> {
        let freezer = self.directory("freezer", id).ok_or(io::ErrorKind::Unsupported)?;
        let state = if frozen { "FROZEN" } else { "THAWED" };
        let begin = Instant::now();
        loop {
            // Written again: a process that was made meanwhile thaws the group.
            files::write(&freezer, "freezer.state", state)?;
            if files::read(&freezer, "freezer.state")?.trim() == state {
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
        let first = self
            .directories(id)
            .into_iter()
            .next()
            .ok_or(io::ErrorKind::NotFound)?;
        // The error for a group that is gone.
        std::fs::metadata(&first)?;
        let mut read = ContainerStats {
            time: crate::time::now_ms(),
            ..ContainerStats::default()
        };
        if let Some(usage) = self.directory("cpuacct", id) {
            read.cpu.usage_nanos = files::number(&usage, "cpuacct.usage");
        }
        if let Some(text) = self
            .directory("cpu", id)
            .and_then(|cpu| files::read(&cpu, "cpu.stat").ok())
        {
            read.cpu.throttled_periods = files::keyed(&text, "nr_throttled");
            read.cpu.throttled_nanos = files::keyed(&text, "throttled_time");
        }
        if let Some(memory) = self.directory("memory", id) {
            read.memory.current_bytes = files::number(&memory, "memory.usage_in_bytes");
            read.memory.peak_bytes = files::number(&memory, "memory.max_usage_in_bytes");
            read.memory.limit_bytes = files::number(&memory, "memory.limit_in_bytes");
            let control = files::read(&memory, "memory.oom_control").unwrap_or_default();
            read.memory.oom_kills = files::keyed(&control, "oom_kill");
        }
        if let Some(pids) = self.directory("pids", id) {
            read.pids.current = files::number(&pids, "pids.current");
            read.pids.limit = files::number(&pids, "pids.max");
        }
        if let Some(text) = self
            .directory("blkio", id)
            .and_then(|blkio| files::read(&blkio, "blkio.throttle.io_service_bytes").ok())
        {
            read.block_io = stats::block_io_v1(&text);
        }
        Ok(read)
    }
}
