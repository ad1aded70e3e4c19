//! Version 2: one directory for a container.
//!
//! Devices are not limited here: that takes a BPF program. What keeps a container from the host's devices is that it cannot
//! make device files without CAP_MKNOD, and that all its mounts but the driver's own /dev are `nodev`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driver_local_shim::Cgroup;
use driver_types::{ContainerStats, ResourceLimits, Support};

use super::{Held, OWN, PERIOD_US, Refused, bytes, files, quota_us, stats};

/// How long processes may take to freeze.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);
/// Which controllers of a parent groups below it have.
const ENABLED: &str = "cgroup.subtree_control";

/// This driver's directory, and the controllers enabled below it.
#[derive(Clone, Debug)]
pub(crate) struct V2 {
    own: PathBuf,
    controllers: Vec<&'static str>,
}

impl V2 {
    /// Makes this driver's directory below `parent` and enables these controllers in it, and `io` for statistics if there
    /// is one.
    pub(super) fn prepare(parent: &Path, controllers: &[&'static str]) -> io::Result<Self> {
        let wanted: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
        let wanted = wanted.join(" ");
        let own = parent.join(OWN);
        // Before the directory: where the parent refuses, nothing is left.
        files::write(parent, ENABLED, &wanted)?;
        files::make(&own)?;
        files::write(&own, ENABLED, &wanted)?;
        let _ = files::write(parent, ENABLED, "+io").and_then(|()| files::write(&own, ENABLED, "+io"));
        let controllers = controllers.to_vec();
        Ok(Self { own, controllers })
    }

    /// The directory of this driver.
    pub(super) fn own(&self) -> &Path {
        &self.own
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    pub(super) fn held(&self) -> Held {
        let of = |name: &str| match self.has(name) {
            true => Support::native(),
            false => Support::none(format!(
                "cgroup v2 has no controller {name} here; boot the kernel with cgroup_enable={name}, or have the group \
                 above pass it on"
            )),
        };
        let swap = self.own.join("memory.swap.max").exists();
        Held {
            cpu: of("cpu"),
            memory: match of("memory") {
                memory if swap || !memory.is_supported() => memory,
                _ => Support::emulated(
                    "the kernel does not limit swap beside memory; boot it with swapaccount=1",
                ),
            },
            pids: of("pids"),
            // Linux 5.2.
            freezer: match self.own.join("cgroup.freeze").exists() {
                true => Support::native(),
                false => Support::none("the kernel cannot freeze a cgroup; use Linux 5.2 or later"),
            },
            usage: Support::native(),
        }
    }

    pub(super) fn directory(&self, id: &str) -> PathBuf {
        self.own.join(id)
    }

    pub(super) fn groups(&self, id: &str) -> Vec<Cgroup> {
        vec![Cgroup::V2(self.directory(id).to_string_lossy().into_owned())]
    }

    /// Makes a group without limits.
    pub(super) fn make(&self, id: &str) -> io::Result<()> {
        files::make(&self.directory(id))
    }

    pub(super) fn create(&self, id: &str, limits: &ResourceLimits) -> io::Result<Vec<Cgroup>> {
        self.make(id)?;
        self.limit(id, limits).map_err(|refused| refused.error)?;
        Ok(self.groups(id))
    }

    /// Sets the limits.
    pub(super) fn limit(&self, id: &str, limits: &ResourceLimits) -> Result<(), Refused> {
        let directory = self.directory(id);
        if self.has("memory") {
            limit_memory(&directory, bytes(limits.memory)).map_err(Refused::of("/memory"))?;
        }
        if self.has("cpu") {
            let quota = format!("{} {PERIOD_US}", quota_us(limits.cpu));
            files::write(&directory, "cpu.max", quota).map_err(Refused::of("/cpu"))?;
        }
        if self.has("pids") {
            files::write(&directory, "pids.max", limits.pids).map_err(Refused::of("/pids"))?;
        }
        Ok(())
    }

    pub(super) fn freeze(&self, id: &str) -> io::Result<()> {
        self.set_frozen(id, 1)
    }

    pub(super) fn thaw(&self, id: &str) -> io::Result<()> {
        self.set_frozen(id, 0)
    }

    fn set_frozen(&self, id: &str, frozen: u64) -> io::Result<()> {
        let directory = self.directory(id);
        files::write(&directory, "cgroup.freeze", frozen)?;
        files::await_keyed(&directory.join("cgroup.events"), "frozen", frozen, FREEZE_LIMIT)
    }

    /// Kills all processes.
    pub(super) fn kill(&self, id: &str) {
        let directory = self.directory(id);
        // Linux 5.14. Before, one by one: who removes a group repeats it until nobody is left.
        if files::write(&directory, "cgroup.kill", 1).is_err() {
            files::kill(&directory);
        }
    }

    pub(super) fn stats(&self, id: &str) -> io::Result<ContainerStats> {
        let directory = self.directory(id);
        // Without the controller there is still the time that was used.
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
        // Linux 5.19.
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

/// Memory without swap. To reach a limit below what is in use the kernel would kill, so it is first made to reclaim: the
/// limit is refused where that is not enough.
fn limit_memory(directory: &Path, bytes: u64) -> io::Result<()> {
    let in_use = || files::number(directory, "memory.current").unwrap_or_default();
    let shrinks = in_use() > bytes;
    if shrinks {
        files::write(directory, "memory.high", bytes)?;
        let left = in_use();
        if left > bytes {
            files::write(directory, "memory.high", "max")?;
            let message = format!("{left} bytes are in use");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
    }
    files::write(directory, "memory.max", bytes)?;
    if shrinks {
        files::write(directory, "memory.high", "max")?;
    }
    match files::write(directory, "memory.swap.max", 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}
