//! What the engine is and has, asked once: Docker or Podman, cores and memory, which limits its kernel holds.

use driver_types::{Enforcement, ResourceLimits, Support};
use driver_validation::Capacity;
use nix::sys::statvfs::statvfs;

use crate::wire::{Info, Version};

/// The facts about an engine that do not change while it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    pub(crate) info: Info,
    pub(crate) version: Version,
    /// What the options say about project quotas on xfs: the API does not tell.
    pub(crate) disk_quota: bool,
    /// MiB of the file system with the engine's data, where it is on this machine.
    pub(crate) disk_mib: Option<u64>,
}

/// Storage drivers that hold a size per container whatever the file system below.
const SIZED_STORAGE: [&str; 3] = ["btrfs", "zfs", "devicemapper"];

/// The first version of Docker Engine whose default profile refuses io_uring.
const WITHOUT_IO_URING: u32 = 25;

/// The first one whose default profile refuses sockets of AF_VSOCK.
const WITHOUT_VSOCK: u32 = 23;

/// The first version of runc that makes the target of a volume below the root alone (CVE-2024-45310).
const RUNC_WITH_SAFE_TARGETS: [u32; 3] = [1, 1, 14];

impl Profile {
    /// The facts, with the size of the engine's disk where its data are on this machine.
    pub(crate) fn new(info: Info, version: Version, disk_quota: bool, is_local: bool) -> Self {
        let root = Some(info.docker_root_dir.as_str()).filter(|root| is_local && !root.is_empty());
        let disk_mib = root.and_then(|root| {
            let found = statvfs(root).ok()?;
            let bytes = found.blocks().saturating_mul(found.fragment_size());
            Some(bytes / ResourceLimits::MIB)
        });
        Self {
            info,
            version,
            disk_quota,
            disk_mib,
        }
    }

    /// Whether it is Podman, which answers some calls otherwise.
    pub(crate) fn is_podman(&self) -> bool {
        self.version
            .components
            .iter()
            .any(|component| component.name.contains("Podman"))
    }

    /// `Docker Engine 20.10.24`.
    pub(crate) fn engine_name(&self) -> String {
        let product = if self.is_podman() {
            "Podman"
        } else {
            "Docker Engine"
        };
        format!("{product} {}", self.version.version)
    }

    /// What one container can have at most.
    pub(crate) fn capacity(&self) -> Capacity {
        let known = |value: u64| (value > 0).then_some(value);
        Capacity {
            cpu: known(self.info.ncpu).map(|cores| cores as f64),
            memory: known(self.info.mem_total).map(|bytes| bytes / ResourceLimits::MIB),
            disk: self.disk_mib,
            pids: None,
        }
    }

    /// How many cores the engine has, at least 1.
    pub(crate) fn cores(&self) -> usize {
        usize::try_from(self.info.ncpu).unwrap_or(1).max(1)
    }

    pub(crate) fn cpu(&self) -> Support {
        if self.info.cpu_cfs_quota {
            Support::native()
        } else {
            Support::none("the engine's kernel has no CFS quota")
        }
    }

    pub(crate) fn memory(&self) -> Support {
        match (
            self.info.memory_limit,
            self.info.swap_limit || self.info.cgroup_version == "2",
        ) {
            (true, true) => Support::native(),
            (true, false) => Support::emulated("the engine's kernel does not limit swap beside memory"),
            (false, _) => Support::none("the engine's kernel has no memory controller"),
        }
    }

    pub(crate) fn pids(&self) -> Support {
        if self.info.pids_limit {
            Support::native()
        } else {
            Support::none("the engine's kernel has no pids controller")
        }
    }

    /// How good the default filter of system calls is, by the engine's version.
    pub(crate) fn seccomp(&self) -> Support {
        let options = &self.info.security_options;
        if !options.iter().any(|option| option.starts_with("name=seccomp")) {
            return Support::none("the engine was built or started without seccomp");
        }
        let major = self.version.version.split('.').next().unwrap_or_default();
        match major.parse() {
            Ok(0..WITHOUT_IO_URING) if !self.is_podman() => Support::emulated(format!(
                "the default profile of Docker Engine before {WITHOUT_IO_URING} lets io_uring through, and before \
                 {WITHOUT_VSOCK} sockets of AF_VSOCK"
            )),
            _ => Support::native(),
        }
    }

    /// Whether a volume is mounted only where it is to be, by the version of runc.
    pub(crate) fn volumes(&self) -> Support {
        let components = &self.version.components;
        let Some(runc) = components.iter().find(|component| component.name == "runc") else {
            return Support::native();
        };
        let numbers = runc.version.split(|c: char| !c.is_ascii_digit());
        let version: Vec<u32> = numbers.take(3).map_while(|number| number.parse().ok()).collect();
        if version.len() < 3 || version.as_slice() >= &RUNC_WITH_SAFE_TARGETS[..] {
            return Support::native();
        }
        Support::emulated(format!(
            "runc {}, before 1.1.14, can be led by a container that shares a volume to make an empty directory \
             on the host (CVE-2024-45310)",
            runc.version
        ))
    }

    /// How the size of a writable layer is held.
    pub(crate) fn disk(&self) -> Support {
        let storage = self.info.driver.as_str();
        if SIZED_STORAGE.contains(&storage) || self.disk_quota {
            return Support::native();
        }
        let on_xfs = self.info.driver_status.iter().any(
            |row| matches!(row.as_slice(), [key, value] if key == "Backing Filesystem" && value == "xfs"),
        );
        Support::none(if on_xfs {
            "the engine does not tell whether xfs is mounted with pquota; if it is, open the driver with disk_quota"
                .to_owned()
        } else {
            format!(
                "the storage driver {storage} limits a container only on xfs with pquota; use a read-only root"
            )
        })
    }

    /// How the limits of a container are held.
    pub(crate) fn enforcement(&self, read_only: bool) -> Enforcement {
        Enforcement {
            cpu: self.cpu(),
            memory: self.memory(),
            // A read-only root writes nothing: there the limit holds by itself.
            disk: if read_only { Support::native() } else { self.disk() },
            pids: self.pids(),
        }
    }
}

#[cfg(test)]
mod tests {
    use driver_types::SupportLevel;

    use super::*;

    fn overlay_on(file_system: &str) -> Profile {
        let info = Info {
            driver: "overlay2".into(),
            driver_status: vec![vec!["Backing Filesystem".into(), file_system.into()]],
            ..Info::default()
        };
        Profile {
            info,
            ..Profile::default()
        }
    }

    #[test]
    fn a_disk_limit_is_never_pretended() {
        assert!(!overlay_on("extfs").disk().is_supported());
        assert!(!overlay_on("xfs").disk().is_supported());
        assert!(
            overlay_on("xfs")
                .disk()
                .reason
                .is_some_and(|reason| reason.contains("disk_quota"))
        );
        let told = Profile {
            disk_quota: true,
            ..overlay_on("xfs")
        };
        assert!(told.disk().is_supported());
    }

    #[test]
    fn a_read_only_root_holds_its_disk_limit() {
        let profile = overlay_on("extfs");
        assert_eq!(profile.enforcement(true).disk, Support::native());
        assert!(!profile.enforcement(false).disk.is_supported());
    }

    #[test]
    fn an_old_default_profile_is_told() {
        let of = |version: &str, options: &[&str]| {
            let mut profile = Profile::default();
            profile.version.version = version.into();
            profile.info.security_options = options.iter().map(|&option| option.to_owned()).collect();
            profile.seccomp()
        };
        let old = of("20.10.24+dfsg1", &["name=seccomp,profile=default"]);
        assert_eq!(old.level, SupportLevel::Emulated);
        assert!(old.reason.is_some_and(|reason| reason.contains("io_uring")));
        assert_eq!(of("25.0.0", &["name=seccomp"]), Support::native());
        assert!(!of("25.0.0", &["name=apparmor"]).is_supported());
    }

    #[test]
    fn a_runc_that_can_be_led_astray_is_told() {
        let of = |version: &str| {
            let mut profile = Profile::default();
            profile.version.components.push(crate::wire::Component {
                name: "runc".into(),
                version: version.into(),
            });
            profile.volumes()
        };
        let old = of("1.1.5+ds1");
        assert_eq!(old.level, SupportLevel::Emulated);
        assert!(old.reason.is_some_and(|reason| reason.contains("CVE-2024-45310")));
        for fixed in ["1.1.14", "1.2.0", "1.10.0", "2.0.0", "unknown"] {
            assert_eq!(of(fixed), Support::native(), "{fixed}");
        }
    }

    #[test]
    fn podman_is_told_by_its_components() {
        let mut profile = Profile::default();
        assert!(!profile.is_podman());
        profile.version.components.push(crate::wire::Component {
            name: "Podman Engine".into(),
            version: "4.3.1".into(),
        });
        assert!(profile.is_podman());
    }
}
