//! What this host can give: capabilities and preflight, from what was found on it.

mod preflight;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use driver_types::{
    Capabilities, Capability as C, CheckStatus, DriverError, LinuxCapabilities, Preflight, ResourceLimits,
    Result, Support, SupportLevel,
};
use driver_validation::Capacity;
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsopen};

use crate::cgroups::{Cgroups, Held};
use crate::disk::Disks;
use crate::landlock::Landlock;
use crate::layout::Layout;
use crate::networks::outbound::{self, Outbound};
use crate::rootless::Rootless;

/// The facts about a host that do not change while a driver is open.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Of a user who is not root.
    rootless: Option<Rootless>,
    /// Those in effect, as a bit mask.
    capabilities: u64,
    cgroups: String,
    /// The systemd service that this process runs in.
    service: Option<String>,
    held: Held,
    kernel: String,
    /// Or why there is none.
    overlay: Result<(), String>,
    seccomp: bool,
    /// The program that bridges need and this host lacks.
    missing: Option<&'static str>,
    /// What gives a user's containers a network, or why nothing does. Root has bridges.
    outbound: Result<Outbound, String>,
    memfd_exec: bool,
    landlock: Landlock,
    cores: f64,
    memory_mib: Option<u64>,
    pid_max: Option<u64>,
    disks: Disks,
    state_dir: PathBuf,
    disk_mib: Option<u64>,
    disk_free_mib: Option<u64>,
}

impl Host {
    /// Looks at the rest of the host. Changes nothing.
    pub(crate) fn probe(
        cgroups: &Cgroups,
        layout: &Layout,
        rootless: Option<Rootless>,
        disks: Disks,
    ) -> Self {
        let kernel = rustix::system::uname();
        let (disk_mib, disk_free_mib) = disk_mib(layout.root());
        Self {
            capabilities: effective_capabilities(),
            cgroups: cgroups.name().to_owned(),
            service: Cgroups::service(),
            held: cgroups.held(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            // A user's is tried out with his namespace.
            overlay: match rootless {
                None => overlay(),
                Some(_) => Ok(()),
            },
            outbound: match &rootless {
                Some(rootless) => Outbound::look(&outbound::directories(), &rootless.namespace),
                None => Err(String::new()),
            },
            rootless,
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            missing: ["ip", "nft"].into_iter().find(|program| !has_program(program)),
            memfd_exec: memfd_exec(),
            landlock: Landlock::probe(),
            cores: cores(),
            memory_mib: memory_mib(),
            pid_max: pid_max(),
            disks,
            state_dir: layout.root().to_owned(),
            disk_mib,
            disk_free_mib,
        }
    }

    /// What a container can have at most.
    pub(crate) fn capacity(&self) -> Capacity {
        Capacity {
            cpu: Some(self.cores),
            memory: self.memory_mib,
            disk: self.disk_mib,
            pids: self.pid_max,
        }
    }

    /// How disk limits are held here.
    pub(crate) fn disks(&self) -> &Disks {
        &self.disks
    }

    /// Whether containers can have bridges.
    pub(crate) fn has_bridges(&self) -> bool {
        self.networks().level == SupportLevel::Native
    }

    /// Whether this process has a Linux capability.
    fn is_capable(&self, name: &str) -> bool {
        LinuxCapabilities::number(name).is_some_and(|number| self.capabilities & (1 << number) != 0)
    }

    /// What gives containers a network where they have no bridges.
    pub(crate) fn outbound(&self) -> Option<Outbound> {
        self.rootless.as_ref().and(self.outbound.as_ref().ok()).cloned()
    }

    /// The network `default`, and published ports of TCP and UDP.
    fn default_network(&self) -> [Support; 3] {
        match (&self.rootless, &self.outbound) {
            (None, _) => [(); 3].map(|()| self.networks()),
            (Some(_), Ok(outbound)) => [outbound.support(), outbound.tcp_ports(), outbound.udp_ports()],
            (Some(_), Err(reason)) => [(); 3].map(|()| Support::none(reason.clone())),
        }
    }

    fn networks(&self) -> Support {
        match self.missing {
            _ if self.rootless.is_some() => Support::none(
                "bridges need root: run the driver as root, or use the networks `none` and `host`, and `default` where it is declared",
            ),
            Some(program) => Support::none(format!(
                "the program `{program}` is missing; install iproute2 and nftables"
            )),
            None => Support::native(),
        }
    }

    /// What the driver can do here.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let bridges = self.networks();
        let [default, tcp_ports, udp_ports] = self.default_network();
        let registries = match cfg!(feature = "pull") {
            true => Support::native(),
            false => Support::none(
                "built without the feature `pull` of driver-local; import_image takes a root tar",
            ),
        };
        let all = Capabilities::all().with(C::DiskLimit, self.disks.support());
        let all = match &self.rootless {
            Some(rootless) => rootless.reduce(all),
            None => all,
        };
        all.with(C::Networks, bridges.clone())
            .with(C::NetworkDefault, default)
            .with(C::NetworkSubnet, bridges.clone())
            .with(C::PortsTcp, tcp_ports)
            .with(C::PortsUdp, udp_ports)
            .with(C::PullImage, registries)
            .with(
                C::VolumeSize,
                Support::none("volumes are directories of the state directory's file system"),
            )
            .with(C::CpuLimit, self.held.cpu.clone())
            .with(C::MemoryLimit, self.held.memory.clone())
            .with(C::PidsLimit, self.held.pids.clone())
            .with(C::Pause, self.held.freezer.clone())
            .with(C::UpdateResources, self.updates())
            .with(C::Stats, self.held.usage.clone())
            .with(C::Snapshot, self.snapshots())
    }

    /// A snapshot of a container that runs wants it frozen; and with one id owners are not kept.
    fn snapshots(&self) -> Support {
        let frozen = &self.held.freezer;
        let running = frozen.reason.as_ref().filter(|_| !frozen.is_supported()).map(|reason| {
            format!("a container that runs goes on meanwhile, and what it writes then may be missing: {reason}")
        });
        let owners = self.rootless.as_ref().and_then(Rootless::owners);
        let reasons: Vec<String> = running.into_iter().chain(owners).collect();
        match reasons.is_empty() {
            true => Support::native(),
            false => Support::emulated(reasons.join("; ")),
        }
    }

    fn updates(&self) -> Support {
        let Held {
            cpu, memory, pids, ..
        } = &self.held;
        let held = [("cpu", cpu), ("memory", memory), ("pids", pids)].into_iter();
        let held: Vec<&str> = held
            .filter(|(_, support)| support.is_supported())
            .map(|(name, _)| name)
            .collect();
        match held.as_slice() {
            [] => Support::none("no limit of a container can be held here (see cpuLimit)"),
            held => Support::emulated(format!(
                "{} of a container that runs; {}",
                held.join(", "),
                match self.disks.has_quotas() {
                    true => "the disk limit of a writable root that a project quota holds",
                    false => "its writable layer keeps its size",
                }
            )),
        }
    }

    /// Refuses where no container can be made at all.
    ///
    /// # Errors
    ///
    /// `CONTAINER_CREATION_FAILED`, permanent, with the first failed check of [`preflight`](Self::preflight) and its remedy.
    pub(crate) fn require(&self) -> Result<()> {
        let checks = self.preflight().checks;
        let Some(failed) = checks.iter().find(|check| check.status == CheckStatus::Fail) else {
            return Ok(());
        };
        let remedy = failed.remedy.as_deref().unwrap_or_default();
        let message = format!("this host cannot run containers: {}; {remedy}", failed.message);
        Err(DriverError::container_creation(message).permanent())
    }

    /// What the host has and lacks, with remedies.
    pub(crate) fn preflight(&self) -> Preflight {
        preflight::of(self)
    }
}

/// Why no overlay can be mounted, if so. To ask loads the kernel's module, as mounting one would.
fn overlay() -> Result<(), String> {
    match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Ok(()),
        Err(Errno::NODEV) => Err("the kernel has no overlay file system".to_owned()),
        Err(error) => Err(format!("an overlay file system cannot be mounted: {error}")),
    }
}

/// Whether a memfd may be executed; a kernel that does not know the setting allows it.
fn memfd_exec() -> bool {
    fs::read_to_string("/proc/sys/vm/memfd_noexec").map_or(true, |text| text.trim() == "0")
}

fn has_program(name: &str) -> bool {
    let mut directories = outbound::directories().into_iter();
    directories.any(|directory| directory.join(name).is_file())
}

fn effective_capabilities() -> u64 {
    rustix::thread::capabilities(None).map_or(0, |sets| sets.effective.bits())
}

/// How many processors this process, and so its containers, may run on.
fn cores() -> f64 {
    let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    f64::from(allowed.max(1))
}

fn pid_max() -> Option<u64> {
    fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// MiB of the file system of a path: all of it, and what is free.
fn disk_mib(path: &Path) -> (Option<u64>, Option<u64>) {
    let Ok(found) = rustix::fs::statvfs(path) else {
        return (None, None);
    };
    let mib = |blocks: u64| Some(blocks.saturating_mul(found.f_frsize) / ResourceLimits::MIB);
    (mib(found.f_blocks), mib(found.f_bavail))
}
