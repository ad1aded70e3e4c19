//! What is declared and told of hosts that lack something, and of this one.

#![allow(clippy::unwrap_used)]

use driver_local_shim::UserNamespace;
use rstest::rstest;

use super::*;
use crate::disk::Lack;
use crate::options::DiskBackend;
use crate::rootless::Refused;

/// A host with all that there is.
fn complete() -> Host {
    Host {
        rootless: None,
        capabilities: u64::MAX,
        cgroups: "cgroup v2".to_owned(),
        service: None,
        held: Held {
            cpu: Support::native(),
            memory: Support::native(),
            pids: Support::native(),
            freezer: Support::native(),
            usage: Support::native(),
        },
        kernel: "6.1.0-56-cloud-amd64".to_owned(),
        overlay: Ok(()),
        seccomp: true,
        missing: None,
        outbound: Err("install passt".to_owned()),
        memfd_exec: true,
        landlock: Landlock::Whole,
        cores: 2.0,
        memory_mib: Some(1000),
        pid_max: Some(32_768),
        disks: Disks {
            backend: DiskBackend::Auto,
            no_quotas: None,
            no_loops: None,
        },
        state_dir: "/state".into(),
        disk_mib: Some(50_000),
        disk_free_mib: Some(40_000),
    }
}

/// A user without rights, with one id, who may or may not make namespaces.
fn user(refused: bool) -> Rootless {
    let refused = refused.then(|| Refused {
        message: "no user namespaces".to_owned(),
        remedy: "sysctl -w user.max_user_namespaces=15000".to_owned(),
    });
    let namespace = UserNamespace {
        uids: Vec::new(),
        gids: Vec::new(),
        by_helpers: false,
    };
    Rootless {
        namespace,
        one_id: Some("install uidmap".to_owned()),
        refused,
    }
}

#[test]
fn a_user_without_rights_has_containers_but_no_bridges() {
    let host = Host {
        rootless: Some(user(false)),
        capabilities: 0,
        ..complete()
    };
    host.require().unwrap();
    let checks = host.preflight().checks;
    let ids = checks.iter().find(|check| check.name == "ids").unwrap();
    assert_eq!(ids.status, CheckStatus::Warn);
    assert_eq!(ids.remedy.as_deref(), Some("install uidmap"));
    let capabilities = host.capabilities();
    for lacking in [C::Networks, C::NetworkDefault, C::PortsTcp, C::User, C::DiskLimit] {
        let support = capabilities.get(lacking);
        assert!(!support.is_supported() && support.reason.is_some(), "{lacking}");
    }
    assert!(capabilities.supports(C::NetworkHost) && capabilities.supports(C::MemoryLimit));
}

#[test]
fn a_complete_host_passes() {
    let host = complete();
    host.require().unwrap();
    let checks = host.preflight().checks;
    assert!(
        checks.iter().all(|check| check.status == CheckStatus::Ok),
        "{checks:?}"
    );
}

#[rstest]
#[case::user(Host { rootless: Some(user(true)), ..complete() }, "sysctl -w user.max_user_namespaces=15000")]
#[case::root_of_a_container(Host { capabilities: 0xa804_25fb, ..complete() }, "NET_ADMIN, SYS_ADMIN, SYS_PTRACE")]
#[case::old(Host { kernel: "5.4.0-1".into(), ..complete() }, "Linux 5.12 or later")]
#[case::no_overlay(Host { overlay: Err("no overlay".into()), ..complete() }, "CONFIG_OVERLAY_FS")]
#[case::no_seccomp(Host { seccomp: false, ..complete() }, "CONFIG_SECCOMP_FILTER")]
#[case::no_memfd(Host { memfd_exec: false, ..complete() }, "vm.memfd_noexec=0")]
fn what_containers_need_is_required(#[case] host: Host, #[case] told: &str) {
    let refused = host.require().unwrap_err();
    assert!(refused.to_string().contains(told), "{refused}");
    assert!(!refused.is_retryable());
    assert!(!host.preflight().is_ok());
}

#[rstest]
#[case("5.12.0", true)]
#[case("5.15.0-91-generic", true)]
#[case("6.1", true)]
#[case("10.0-rc1", true)]
#[case("5.11.22", false)]
#[case("4.18.0-553.el8", false)]
#[case("strange", true)]
fn kernels(#[case] release: &str, #[case] good: bool) {
    let kernel = release.to_owned();
    assert_eq!(Host { kernel, ..complete() }.preflight().is_ok(), good);
}

#[test]
fn what_only_limits_is_told_and_declared() {
    let mut host = complete();
    host.held.memory = Support::none("no controller");
    host.held.freezer = Support::none("no freezer");
    host.disk_free_mib = Some(3);
    host.disks.no_loops = Some("no loop devices".into());
    host.disks.no_quotas = Some(Lack {
        reason: "not mounted so".into(),
        remedy: "mount it so".into(),
    });
    host.require().unwrap();
    let warned: Vec<_> = host
        .preflight()
        .checks
        .into_iter()
        .filter(|check| check.status == CheckStatus::Warn)
        .map(|check| (check.name, check.remedy.is_some()))
        .collect();
    let expected = ["disk", "disk limit", "memory limit", "freezer"].map(|name| (name.to_owned(), true));
    assert_eq!(warned, expected);
    let capabilities = host.capabilities();
    assert!(!capabilities.supports(C::MemoryLimit) && !capabilities.supports(C::Pause));
    let updates = capabilities.get(C::UpdateResources);
    assert!(
        updates
            .reason
            .is_some_and(|reason| reason.starts_with("cpu, pids of"))
    );
    host.held.cpu = Support::none("none");
    host.held.pids = Support::none("none");
    assert!(!host.capabilities().supports(C::UpdateResources));
}

/// A further wall is no need: what is missing of it is told.
#[rstest]
#[case(Landlock::Files, "abstract sockets")]
#[case(Landlock::None, "no Landlock")]
fn a_host_without_landlock_is_told_of(#[case] landlock: Landlock, #[case] told: &str) {
    let host = Host {
        landlock,
        ..complete()
    };
    host.require().unwrap();
    let checks = host.preflight().checks;
    let check = checks.iter().find(|check| check.name == "landlock").unwrap();
    assert_eq!(check.status, CheckStatus::Warn);
    assert!(check.message.contains(told), "{check:?}");
    assert!(check.remedy.as_ref().unwrap().contains("lsm="), "{check:?}");
}

/// And of its start after that, where the containers are in its group.
#[rstest]
#[case::root(None, "cgroup v2", false)]
#[case::user(Some(user(false)), "cgroup v2", true)]
#[case::user_without_cgroups(Some(user(false)), "no cgroups", false)]
fn a_service_is_warned_of_its_stop(
    #[case] rootless: Option<Rootless>,
    #[case] cgroups: &str,
    #[case] of_its_start: bool,
) {
    let service = Some("agent.service".to_owned());
    let host = Host {
        service,
        rootless,
        cgroups: cgroups.to_owned(),
        ..complete()
    };
    let checks = host.preflight().checks;
    let warned = checks.iter().find(|check| check.name == "service").unwrap();
    assert_eq!(warned.status, CheckStatus::Warn);
    let remedy = warned.remedy.as_deref().unwrap();
    assert!(remedy.contains("KillMode=process"), "{warned:?}");
    assert_eq!(remedy.contains("DelegateSubgroup"), of_its_start, "{warned:?}");
    host.require().unwrap();
}

/// What holds is no warning, but what would be better is told.
#[test]
fn a_better_disk_limit_is_told() {
    let mut host = complete();
    let check = |host: &Host| {
        let checks = host.preflight().checks;
        checks
            .into_iter()
            .find(|check| check.name == "disk limit")
            .unwrap()
    };
    assert!(check(&host).message.contains("project quota of"));
    host.disks.no_quotas = Some(Lack {
        reason: "not mounted so".into(),
        remedy: "mount it so".into(),
    });
    let told = check(&host);
    assert_eq!(told.status, CheckStatus::Ok);
    assert!(told.message.contains("not mounted so (mount it so)"), "{told:?}");
    host.disks.backend = DiskBackend::Quota;
    let told = check(&host);
    assert_eq!(told.status, CheckStatus::Warn);
    assert_eq!(told.remedy.as_deref(), Some("mount it so"));
}

/// Whatever is not native has a reason; of the disk limit it is also told how it is held.
#[test]
fn reasons_are_given() {
    for (capability, support) in complete().capabilities().iter() {
        let is_native = support.level == SupportLevel::Native && capability != C::DiskLimit;
        assert_eq!(support.reason.is_none(), is_native, "{capability}");
    }
}

#[test]
fn this_host_is_looked_at() {
    let state = tempfile::tempdir().unwrap();
    let cgroups = Cgroups::detect().unwrap();
    let host = Host::probe(&cgroups, &Layout::new(state.path()), None, complete().disks);
    let capacity = host.capacity();
    assert!(capacity.cpu >= Some(1.0) && capacity.memory > Some(0) && capacity.disk > Some(0));
    assert!(capacity.pids >= Some(301));
    assert!(host.disk_free_mib <= host.disk_mib);
    if host.is_capable("SYS_ADMIN") {
        assert_eq!(host.overlay, Ok(()));
    }
}
