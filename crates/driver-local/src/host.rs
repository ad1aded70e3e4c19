//! What this host can give: capabilities and preflight, from what was found on it.

use std::fs;
use std::path::Path;

use driver_types::{
    Capabilities, Capability as C, CheckStatus, DriverError, Preflight, PreflightCheck, ResourceLimits,
    Result, Support, SupportLevel,
};
use driver_validation::Capacity;

use crate::cgroups::{Cgroups, Held};
use crate::layout::Layout;

/// The facts about a host that do not change while a driver is open.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    is_root: bool,
    cgroups: String,
    held: Held,
    kernel: String,
    overlay: bool,
    seccomp: bool,
    /// The program that bridges need and this host lacks.
    missing: Option<&'static str>,
    cores: f64,
    memory_mib: Option<u64>,
    disk_mib: Option<u64>,
}

impl Host {
    /// Looks at the host. Changes nothing.
    pub(crate) fn probe(cgroups: &Cgroups, layout: &Layout) -> Self {
        let kernel = rustix::system::uname();
        Self {
            is_root: rustix::process::geteuid().is_root(),
            cgroups: cgroups.name().to_owned(),
            held: cgroups.held(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            overlay: has_file_system("overlay"),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            missing: ["ip", "nft"].into_iter().find(|program| !has_program(program)),
            cores: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            memory_mib: memory_mib(),
            disk_mib: disk_mib(layout.root()),
        }
    }

    /// What a container can have at most.
    pub(crate) fn capacity(&self) -> Capacity {
        Capacity {
            cpu: Some(self.cores),
            memory: self.memory_mib,
            disk: self.disk_mib,
            pids: None,
        }
    }

    /// Whether containers can have bridges.
    pub(crate) fn has_bridges(&self) -> bool {
        self.networks().level == SupportLevel::Native
    }

    fn networks(&self) -> Support {
        match self.missing {
            _ if !self.is_root => Support::none("bridges need root; networks `none` and `host` do not"),
            Some(program) => Support::none(format!(
                "the program `{program}` is missing; install iproute2 and nftables"
            )),
            None => Support::native(),
        }
    }

    /// What the driver can do here.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let bridges = self.networks();
        let registries = match cfg!(feature = "pull") {
            true => Support::native(),
            false => Support::none(
                "built without the feature `pull` of driver-local; import_image takes a root tar",
            ),
        };
        Capabilities::all()
            .with(C::Networks, bridges.clone())
            .with(C::NetworkDefault, bridges.clone())
            .with(C::NetworkSubnet, bridges.clone())
            .with(C::PortsTcp, bridges.clone())
            .with(C::PortsUdp, bridges.clone())
            .with(C::PullImage, registries)
            .with(
                C::VolumeSize,
                Support::none("volumes are directories of the state directory's file system"),
            )
            .with(C::CpuLimit, self.held.cpu.clone())
            .with(C::MemoryLimit, self.held.memory.clone())
            .with(C::PidsLimit, self.held.pids.clone())
            .with(C::Pause, self.held.freezer.clone())
            .with(C::UpdateResources, self.held.memory.clone())
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
        let bridges = self.networks();
        let limits = [
            ("networks", &bridges),
            ("cpu limit", &self.held.cpu),
            ("memory limit", &self.held.memory),
            ("process limit", &self.held.pids),
            ("freezer", &self.held.freezer),
        ];
        let mut checks = vec![
            check(
                "privilege",
                self.is_root,
                "this process is root",
                "this process is not root",
                "run as root: containers of other users need user namespaces, which this driver does not set up",
            ),
            check(
                "overlay",
                self.overlay,
                "the kernel has the overlay file system",
                "the kernel has no overlay file system",
                "load the module overlay, or use a kernel of 5.11 or later that has it",
            ),
            check(
                "seccomp",
                self.seccomp,
                "the kernel filters system calls",
                "the kernel does not filter system calls",
                "use a kernel with CONFIG_SECCOMP_FILTER",
            ),
            PreflightCheck {
                name: "kernel".to_owned(),
                status: CheckStatus::Ok,
                message: format!("Linux {}, {}", self.kernel, self.cgroups),
                remedy: None,
            },
        ];
        checks.push(self.forwarding());
        checks.extend(limits.map(|(name, support)| of_support(name, support)));
        Preflight { checks }
    }

    fn forwarding(&self) -> PreflightCheck {
        let on = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1");
        let message = match on {
            true => "net.ipv4.ip_forward is on",
            false => "net.ipv4.ip_forward is off; the driver turns it on when a container joins a network",
        };
        PreflightCheck {
            name: "forwarding".to_owned(),
            status: CheckStatus::Ok,
            message: message.to_owned(),
            remedy: None,
        }
    }
}

fn check(name: &str, holds: bool, good: &str, bad: &str, remedy: &str) -> PreflightCheck {
    PreflightCheck {
        name: name.to_owned(),
        status: if holds { CheckStatus::Ok } else { CheckStatus::Fail },
        message: if holds { good } else { bad }.to_owned(),
        remedy: (!holds).then(|| remedy.to_owned()),
    }
}

fn of_support(name: &str, support: &Support) -> PreflightCheck {
    let is_native = support.level == SupportLevel::Native;
    PreflightCheck {
        name: name.to_owned(),
        status: if is_native {
            CheckStatus::Ok
        } else {
            CheckStatus::Warn
        },
        message: if is_native {
            "held by the kernel".to_owned()
        } else {
            format!("{}", support.level)
        },
        remedy: support.reason.clone(),
    }
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

fn has_file_system(name: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known
        .lines()
        .any(|line| line.split_whitespace().next_back() == Some(name))
}

fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

fn disk_mib(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_blocks.saturating_mul(found.f_frsize) / ResourceLimits::MIB)
}
