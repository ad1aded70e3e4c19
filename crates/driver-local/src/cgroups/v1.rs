//! Version 1: a directory for each controller.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use driver_local_shim::Cgroup;
use driver_types::{ContainerStats, ResourceLimits, Support};

use super::{Held, Refused, bytes, devices, files, quota_us, stats};

/// How long processes may take to freeze.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);
/// How long they may take to freeze where they are to be killed: it only keeps them from making others meanwhile.
const KILL_FREEZE_LIMIT: Duration = Duration::from_millis(200);
/// Numbers from here on stand for no limit: the largest one, rounded down to whole pages of any size.
const UNLIMITED: u64 = (i64::MAX as u64) & !0xf_ffff;
/// The controllers that are mounted and can be written, each with this driver's directory in it.
#[derive(Clone, Debug)]
pub(crate) struct V1 {
    controllers: BTreeMap<&'static str, PathBuf>,
    /// Where containers have groups of their own, each directory once: controllers that are mounted together have one. That
    /// of memory is the first, which the shim looks for.
    parents: Vec<PathBuf>,
    /// The group for the devices of all containers; absent where each has one of its own.
    devices: Option<PathBuf>,
    /// Whether the kernel limits swap beside memory.
    limits_swap: bool,
}

impl V1 {
    pub(super) fn new(controllers: BTreeMap<&'static str, PathBuf>) -> Self {
        let memory = controllers.get("memory");
        let devices = controllers.get("devices");
        let others = |parent: &&PathBuf| controllers.values().filter(|other| other == parent).count() > 1;
        // Not where other controllers are mounted with it, nor where containers run that an earlier version has made.
        let devices = devices.filter(|parent| !others(parent) && devices::restrict(parent).is_ok());
        let devices = devices.cloned();
        let mut parents: Vec<PathBuf> = controllers.values().cloned().collect();
        parents.retain(|parent| Some(parent) != devices.as_ref());
        parents.sort_by_key(|parent| (Some(parent) != memory, parent.clone()));
        parents.dedup();
        Self {
            limits_swap: memory.is_some_and(|parent| parent.join("memory.memsw.limit_in_bytes").exists()),
            parents,
            devices,
            controllers,
        }
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
            memory: match (of("memory"), self.limits_swap) {
                (memory, true) => memory,
                (memory, false) if memory.is_supported() => Support::emulated(
                    "the kernel does not limit swap beside memory; boot it with swapaccount=1",
                ),
                (memory, false) => memory,
            },
            pids: of("pids"),
            freezer: of("freezer"),
            usage: Support::native(),
        }
    }

    fn directory(&self, controller: &str, id: &str) -> Option<PathBuf> {
        Some(self.controllers.get(controller)?.join(id))
    }

    pub(super) fn directories(&self, id: &str) -> Vec<PathBuf> {
        self.parents.iter().map(|parent| parent.join(id)).collect()
    }

    pub(super) fn groups(&self, id: &str) -> Vec<Cgroup> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let own = self.directories(id);
        let own = own.iter().map(|path| Cgroup::V1(text(path)));
        own.chain(self.devices.iter().map(|path| Cgroup::Shared(text(path))))
            .collect()
    }

    pub(super) fn create(&self, id: &str, limits: &ResourceLimits) -> io::Result<Vec<Cgroup>> {
        self.make(id)?;
        self.limit(id, limits, None).map_err(|refused| refused.error)?;
        Ok(self.groups(id))
    }

    /// Makes groups that were prepared those of a container: they and who is in them get its name and its limits. Where that
    /// fails some of them may have its name.
    pub(super) fn take(&self, prepared: &str, id: &str, limits: &ResourceLimits) -> io::Result<()> {
        for parent in &self.parents {
            fs::rename(parent.join(prepared), parent.join(id))?;
        }
        self.limit(id, limits, None).map_err(|refused| refused.error)
    }

    /// Makes groups without limits.
    pub(super) fn make(&self, id: &str) -> io::Result<()> {
        self.directories(id)
            .iter()
            .try_for_each(|directory| match files::make(directory) {
                // Somebody has removed what was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound => files::make_all(directory),
                made => made,
            })?;
        match (&self.devices, self.directory("devices", id)) {
            (Some(shared), _) if shared.exists() => Ok(()),
            (Some(shared), _) => files::make_all(shared).and_then(|()| devices::restrict(shared)),
            (None, Some(own)) => devices::restrict(&own),
            (None, None) => Ok(()),
        }
    }

    /// Sets the limits. `before` are those that hold now, if any do.
    pub(super) fn limit(
        &self,
        id: &str,
        limits: &ResourceLimits,
        before: Option<&ResourceLimits>,
    ) -> Result<(), Refused> {
        if let Some(memory) = self.directory("memory", id) {
            let grows = before.is_some_and(|before| limits.memory > before.memory);
            self.limit_memory(&memory, bytes(limits.memory), grows)
                .map_err(Refused::of("/memory"))?;
        }
        if let Some(cpu) = self.directory("cpu", id) {
            // Of the kernel's own period.
            files::write(&cpu, "cpu.cfs_quota_us", quota_us(limits.cpu)).map_err(Refused::of("/cpu"))?;
        }
        match self.directory("pids", id) {
            Some(pids) => files::write(&pids, "pids.max", limits.pids).map_err(Refused::of("/pids")),
            None => Ok(()),
        }
    }

    /// Memory and memory with swap: the second may never be less than the first, so the order depends on the direction.
    fn limit_memory(&self, memory: &Path, bytes: u64, grows: bool) -> io::Result<()> {
        let mut files = vec!["memory.limit_in_bytes"];
        if self.limits_swap {
            files.push("memory.memsw.limit_in_bytes");
        }
        if grows {
            files.reverse();
        }
        files
            .into_iter()
            .try_for_each(|file| files::write(memory, file, bytes))
    }

    pub(super) fn freeze(&self, id: &str) -> io::Result<()> {
        self.set_frozen(id, "FROZEN", FREEZE_LIMIT)
    }

    pub(super) fn thaw(&self, id: &str) -> io::Result<()> {
        self.set_frozen(id, "THAWED", FREEZE_LIMIT)
    }

    fn set_frozen(&self, id: &str, state: &str, limit: Duration) -> io::Result<()> {
        let freezer = self.directory("freezer", id).ok_or(io::ErrorKind::Unsupported)?;
        let deadline = Instant::now() + limit;
        loop {
            // Written again: a process that was made meanwhile has to be frozen, too.
            files::write(&freezer, "freezer.state", state)?;
            if files::read(&freezer, "freezer.state")?.trim() == state {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let message = format!("{}: a process does not become {state}", freezer.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            // Version 1 does not tell when they are.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills all processes. While they are frozen they cannot make others, nor end, so that no pid is taken anew; what
    /// was frozen before gets the signal when it thaws.
    pub(super) fn kill(&self, id: &str) {
        let _ = self.set_frozen(id, "FROZEN", KILL_FREEZE_LIMIT);
        self.directories(id)
            .iter()
            .for_each(|directory| files::kill(directory));
        let _ = self.thaw(id);
    }

    pub(super) fn stats(&self, id: &str) -> io::Result<ContainerStats> {
        // The error for a group that is gone.
        let any = self.directories(id).into_iter().next();
        std::fs::metadata(any.ok_or(io::ErrorKind::NotFound)?)?;
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
            read.memory.limit_bytes =
                files::number(&memory, "memory.limit_in_bytes").filter(|bytes| *bytes < UNLIMITED);
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
