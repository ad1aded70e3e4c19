//! `preflight`: what the host has and lacks, each with the way out.

use std::fs;

use driver_local_shim::kernel_version;
use driver_types::{CheckStatus, Preflight, PreflightCheck, Support, SupportLevel};

use super::Host;
use crate::landlock::Landlock;
use crate::options::DiskBackend;
use crate::rootless::Rootless;

/// What the shim cannot do without: mounts by descriptor whose attributes are changed before anybody sees them.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// What making a container takes, by capabilities(7): its file systems, its ids, its limits, its end. Devices that it may not make
/// are bound.
const NEEDED: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_ADMIN",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_PTRACE",
];

/// With less space in MiB it is told: an image and its unpacked copy hardly fit.
const LITTLE_DISK: u64 = 1024;

/// The checks, from the facts alone.
pub(super) fn of(host: &Host) -> Preflight {
    let mut checks = vec![
        privilege(host),
        kernel(host),
        needed(
            "overlay",
            host.overlay.as_ref().err().map(String::as_str),
            "the kernel mounts overlay file systems",
            "load the module overlay, or use a kernel with CONFIG_OVERLAY_FS",
        ),
        needed(
            "seccomp",
            (!host.seccomp).then_some("the kernel does not filter system calls"),
            "the kernel filters system calls",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        needed(
            "memfd",
            (!host.memfd_exec).then_some("programs cannot be run from memory (vm.memfd_noexec is not 0)"),
            "programs can be run from memory",
            "set vm.memfd_noexec=0: the program that makes containers is in a sealed memfd, not in a file",
        ),
        landlock(host),
        disk(host),
        disk_limit(host),
    ];
    match &host.rootless {
        None => checks.push(forwarding()),
        Some(rootless) => checks.extend([ids(rootless), outbound(host)]),
    }
    // Those of root, and of version 1, are elsewhere.
    let below = host.rootless.is_some() && host.cgroups == "cgroup v2";
    let service = |name| service(name, below);
    checks.extend(host.service.as_deref().map(service));
    let bridges = host.networks();
    let limits = [
        (
            "networks",
            &bridges,
            "run as root and install iproute2 and nftables",
        ),
        (
            "cpu limit",
            &host.held.cpu,
            "use a kernel with CONFIG_CFS_BANDWIDTH and the cpu controller",
        ),
        (
            "memory limit",
            &host.held.memory,
            "start the kernel with cgroup_enable=memory swapaccount=1",
        ),
        (
            "process limit",
            &host.held.pids,
            "use a kernel with the pids controller",
        ),
        (
            "freezer",
            &host.held.freezer,
            "mount the freezer controller, or use cgroup v2 on Linux 5.2 or later",
        ),
    ];
    checks.extend(limits.map(|(name, support, remedy)| limit(name, support, remedy)));
    Preflight { checks }
}

fn privilege(host: &Host) -> PreflightCheck {
    if let Some(rootless) = &host.rootless {
        return namespaces(rootless);
    }
    let lacks: Vec<&str> = NEEDED.into_iter().filter(|name| !host.is_capable(name)).collect();
    let lacks = lacks.join(", ");
    let bad =
        (!lacks.is_empty()).then(|| format!("this process is root, but without the capabilities {lacks}"));
    needed(
        "privilege",
        bad.as_deref(),
        "this process is root with its capabilities",
        "run as root of the host, or as a user who is not root: then containers are in user namespaces",
    )
}

fn namespaces(rootless: &Rootless) -> PreflightCheck {
    let good = "this user, who is not root, makes containers in user namespaces";
    match &rootless.refused {
        None => check("privilege", CheckStatus::Ok, good, ""),
        Some(refused) => check("privilege", CheckStatus::Fail, &refused.message, &refused.remedy),
    }
}

fn ids(rootless: &Rootless) -> PreflightCheck {
    match &rootless.one_id {
        None => check(
            "ids",
            CheckStatus::Ok,
            "containers have the ids that are granted to this user",
            "",
        ),
        Some(reason) => check(
            "ids",
            CheckStatus::Warn,
            "all processes of a container have the one id of this user",
            reason,
        ),
    }
}

fn outbound(host: &Host) -> PreflightCheck {
    let [default, ..] = host.default_network();
    let message = default.reason.unwrap_or_default();
    match default.level {
        SupportLevel::None => check(
            "network default",
            CheckStatus::Warn,
            &message,
            "install passt or slirp4netns, and let users open /dev/net/tun",
        ),
        _ => check("network default", CheckStatus::Ok, &message, ""),
    }
}

fn kernel(host: &Host) -> PreflightCheck {
    let found = format!("Linux {}, {}", host.kernel, host.cgroups);
    let (major, minor) = OLDEST_KERNEL;
    let too_old = kernel_version(&host.kernel).is_some_and(|version| version < OLDEST_KERNEL);
    let bad = format!("{found}, which cannot mount by descriptor");
    needed(
        "kernel",
        too_old.then_some(bad.as_str()),
        &found,
        &format!("use Linux {major}.{minor} or later"),
    )
}

/// A further wall, which no container needs.
fn landlock(host: &Host) -> PreflightCheck {
    let (status, message) = match host.landlock {
        Landlock::Whole => (CheckStatus::Ok, "shims are closed in by Landlock"),
        Landlock::Files => (
            CheckStatus::Warn,
            "shims are closed in by Landlock, but may signal other processes and use abstract sockets",
        ),
        Landlock::None => (
            CheckStatus::Warn,
            "shims are not closed in: the kernel has no Landlock, or it is off",
        ),
    };
    let remedy =
        "use Linux 6.12 or later with CONFIG_SECURITY_LANDLOCK, and with landlock in its parameter lsm=";
    check("landlock", status, message, remedy)
}

fn disk(host: &Host) -> PreflightCheck {
    let directory = host.state_dir.display();
    let (status, message) = match host.disk_free_mib {
        Some(free) if free >= LITTLE_DISK => (CheckStatus::Ok, format!("{free} MiB are free in {directory}")),
        Some(free) => (
            CheckStatus::Warn,
            format!("only {free} MiB are free in {directory}"),
        ),
        None => (
            CheckStatus::Warn,
            format!("the free space in {directory} is not known"),
        ),
    };
    let remedy =
        "make room, remove images that are not used, or set DRIVER_LOCAL_STATE to another file system";
    check("disk", status, &message, remedy)
}

/// Without quotas and loop images a large limit is kept in memory, where the memory limit bites first.
fn disk_limit(host: &Host) -> PreflightCheck {
    let disks = &host.disks;
    let support = disks.support();
    let no_loops = disks.backend != DiskBackend::Tmpfs && disks.no_loops.is_some();
    let status = match support.is_supported() && (disks.has_quotas() || !no_loops) {
        true => CheckStatus::Ok,
        false => CheckStatus::Warn,
    };
    let mut message = format!("{}: {}", support.level, support.reason.unwrap_or_default());
    let install = "install e2fsprogs and mount (util-linux), and use a kernel with loop devices and ext4";
    let remedy = match (&disks.no_quotas, disks.backend) {
        (Some(lack), DiskBackend::Quota) => lack.remedy.clone(),
        (Some(lack), _) => {
            message += &format!("; not by project quotas, which cost less: {}", lack.reason);
            match status {
                CheckStatus::Ok => {
                    message += &format!(" ({})", lack.remedy);
                    String::new()
                }
                _ => format!("{}; or {install}", lack.remedy),
            }
        }
        (None, _) => install.to_owned(),
    };
    check("disk limit", status, &message, &remedy)
}

/// How the unit is set cannot be seen from here. Where the containers are `below` the group of the service, nothing can be started
/// in that while they run.
fn service(name: &str, below: bool) -> PreflightCheck {
    let stop = format!(
        "this process runs in the systemd service {name}: unless that has KillMode=process, to stop it ends the shims of all containers"
    );
    let (message, remedy) = match below {
        false => (
            stop,
            "set KillMode=process and Delegate=yes in the [Service] section of the unit, if they are not",
        ),
        true => (
            stop + "; unless it has DelegateSubgroup, it cannot be started again while its containers run",
            "set KillMode=process, Delegate=yes and DelegateSubgroup=init (systemd 254 or later) in the [Service] section of the \
             unit, if they are not",
        ),
    };
    check("service", CheckStatus::Warn, &message, remedy)
}

fn forwarding() -> PreflightCheck {
    let on = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1");
    let message = match on {
        true => "net.ipv4.ip_forward is on",
        false => "net.ipv4.ip_forward is off; the driver turns it on when a container joins a network",
    };
    check("forwarding", CheckStatus::Ok, message, "")
}

fn limit(name: &str, support: &Support, remedy: &str) -> PreflightCheck {
    match &support.reason {
        None => check(name, CheckStatus::Ok, "held by the kernel", remedy),
        Some(reason) => check(
            name,
            CheckStatus::Warn,
            &format!("{}: {reason}", support.level),
            remedy,
        ),
    }
}

/// Something without which no container can be made.
fn needed(name: &str, bad: Option<&str>, good: &str, remedy: &str) -> PreflightCheck {
    match bad {
        None => check(name, CheckStatus::Ok, good, remedy),
        Some(bad) => check(name, CheckStatus::Fail, bad, remedy),
    }
}

fn check(name: &str, status: CheckStatus, message: &str, remedy: &str) -> PreflightCheck {
    PreflightCheck {
        name: name.to_owned(),
        status,
        message: message.to_owned(),
        remedy: (status != CheckStatus::Ok).then(|| remedy.to_owned()),
    }
}
