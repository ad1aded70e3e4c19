//! Values that follow from others: endpoints, default mounts, time-outs, filters, deadlines.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use driver_types::{
    Capabilities, Capability, CheckStatus, ContainerConfig, ContainerInstance, Deadlines, Event, EventFilter,
    EventKind, MountType, Operation, PortMapping, PortProtocol, Preflight, PreflightCheck, PublishedPort,
    Repeat, SecurityOptions, Signal, StopOptions, Support, TmpfsMount, VolumeMount,
};
use rstest::rstest;

fn port(host_ip: &str, protocol: PortProtocol) -> PublishedPort {
    PublishedPort {
        container_port: 80,
        host_port: 49153,
        host_ip: host_ip.to_owned(),
        protocol,
    }
}

#[rstest]
#[case::none(vec![], "mock://c1")]
#[case::ipv4(vec![port("127.0.0.1", PortProtocol::Tcp)], "tcp://127.0.0.1:49153")]
#[case::ipv6(vec![port("::1", PortProtocol::Tcp)], "tcp://[::1]:49153")]
#[case::udp(vec![port("0.0.0.0", PortProtocol::Udp)], "udp://0.0.0.0:49153")]
#[case::the_first_counts(vec![port("::", PortProtocol::Udp), port("127.0.0.1", PortProtocol::Tcp)], "udp://[::]:49153")]
fn the_endpoint_is_the_url_of_the_first_port(#[case] ports: Vec<PublishedPort>, #[case] endpoint: &str) {
    assert_eq!(ContainerInstance::endpoint_of("mock", "c1", &ports), endpoint);
}

fn config() -> ContainerConfig {
    ContainerConfig::new("session", "image")
}

#[rstest]
#[case::read_only_root(config(), &[("/tmp", 64)])]
#[case::writable_root(config().security(SecurityOptions::default().read_only(false)), &[])]
#[case::volume_there(config().volume(VolumeMount::new("data", "/tmp")), &[])]
#[case::volume_elsewhere(config().volume(VolumeMount::new("data", "/data")), &[("/tmp", 64)])]
#[case::given(config().tmpfs("/run", 8).tmpfs("/var/tmp", 16), &[("/run", 8), ("/var/tmp", 16)])]
#[case::given_on_a_writable_root(config().security(SecurityOptions::default().read_only(false)).tmpfs("/run", 8), &[("/run", 8)])]
#[case::given_none(ContainerConfig { tmpfs: Some(vec![]), ..config() }, &[])]
fn a_read_only_root_has_a_tmp_unless_the_config_says_otherwise(
    #[case] config: ContainerConfig,
    #[case] expected: &[(&str, u64)],
) {
    let expected: Vec<TmpfsMount> = expected
        .iter()
        .map(|(target, size_mib)| TmpfsMount {
            target: (*target).to_owned(),
            size_mib: *size_mib,
        })
        .collect();
    assert_eq!(config.effective_tmpfs(), expected);
}

#[rstest]
#[case::default(StopOptions::default(), 10_000)]
#[case::given(StopOptions::timeout(1500), 1500)]
#[case::zero_is_a_value(StopOptions::timeout(0), 0)]
#[case::force(StopOptions::force(), 0)]
#[case::force_beats_timeout(StopOptions { force: true, ..StopOptions::timeout(500) }, 0)]
fn the_grace_time_of_a_stop(#[case] options: StopOptions, #[case] expected: u64) {
    assert_eq!(options.effective_timeout(), expected);
}

#[test]
fn defaults_of_a_config_are_used_where_nothing_is_given() {
    assert_eq!(config().effective_stop_signal(), Signal::TERM);
    assert_eq!(
        config().stop_signal(Signal::INT).effective_stop_signal(),
        Signal::INT
    );
    let tcp = PortMapping::tcp(80);
    assert_eq!(
        (tcp.effective_host_ip(), tcp.effective_protocol()),
        ("127.0.0.1", PortProtocol::Tcp)
    );
    assert_eq!(PortMapping::udp(53).effective_protocol(), PortProtocol::Udp);
}

#[rstest]
#[case::path("/srv", None, MountType::Bind)]
#[case::name("data", None, MountType::Volume)]
#[case::given("data", Some(MountType::Bind), MountType::Bind)]
fn a_source_that_is_a_path_is_a_bind(
    #[case] source: &str,
    #[case] mount_type: Option<MountType>,
    #[case] expected: MountType,
) {
    let mount = VolumeMount {
        mount_type,
        ..VolumeMount::new(source, "/data")
    };
    assert_eq!(mount.effective_type(), expected);
}

#[rstest]
#[case::everything(EventFilter::default(), true)]
#[case::container(EventFilter::container("c1"), true)]
#[case::other_container(EventFilter::container("c2"), false)]
#[case::session(EventFilter { session_id: Some("s1".into()), ..EventFilter::default() }, true)]
#[case::other_session(EventFilter { session_id: Some("s2".into()), ..EventFilter::default() }, false)]
#[case::kind(EventFilter { types: vec!["started".into()], ..EventFilter::default() }, true)]
#[case::other_kind(EventFilter { types: vec!["exited".into()], ..EventFilter::default() }, false)]
#[case::anded(EventFilter { types: vec!["started".into()], ..EventFilter::container("c2") }, false)]
fn event_filters_are_anded_and_lagged_always_passes(#[case] filter: EventFilter, #[case] passes: bool) {
    let event = |kind| Event {
        time: 1,
        container_id: Some("c1".to_owned()),
        session_id: Some("s1".to_owned()),
        kind,
    };
    assert_eq!(filter.matches(&event(EventKind::Started)), passes);
    let lagged = Event {
        time: 1,
        container_id: None,
        session_id: None,
        kind: EventKind::Lagged,
    };
    assert!(filter.matches(&lagged));
}

#[test]
fn a_preflight_is_fine_unless_a_check_failed() {
    let preflight = |statuses: &[CheckStatus]| Preflight {
        checks: statuses
            .iter()
            .map(|status| PreflightCheck {
                name: "kernel".to_owned(),
                status: *status,
                message: "6.1".to_owned(),
                remedy: None,
            })
            .collect(),
    };
    assert!(preflight(&[]).is_ok());
    assert!(preflight(&[CheckStatus::Ok, CheckStatus::Warn]).is_ok());
    assert!(!preflight(&[CheckStatus::Ok, CheckStatus::Fail]).is_ok());
}

#[test]
fn what_is_not_declared_is_not_supported() {
    let declared = Capabilities::none()
        .with(Capability::Exec, Support::native())
        .with(Capability::DiskLimit, Support::emulated("measured"))
        .with(Capability::Stats, Support::none("no cgroups"));
    let supported: Vec<_> = Capability::ALL
        .iter()
        .filter(|capability| declared.supports(**capability))
        .collect();
    assert_eq!(supported, [&Capability::Exec, &Capability::DiskLimit]);
    assert_eq!(
        declared.get(Capability::Pause).reason.as_deref(),
        Some("not declared by the driver")
    );
    assert_eq!(declared.iter().count(), Capability::ALL.len());
    assert!(
        Capabilities::all()
            .iter()
            .all(|(_, support)| support.is_supported())
    );
}

#[test]
fn deadlines_come_from_the_operation_table_unless_they_are_set() {
    let deadlines = Deadlines::default()
        .with(Operation::GetContainer, Some(Duration::from_millis(5)))
        .with(Operation::CreateContainer, None);
    assert_eq!(
        deadlines.get(Operation::GetContainer),
        Some(Duration::from_millis(5))
    );
    assert_eq!(deadlines.get(Operation::CreateContainer), None);
    assert_eq!(
        deadlines.get(Operation::HealthCheck),
        Operation::HealthCheck.info().deadline
    );
}

#[test]
fn the_operation_table_is_consistent() {
    for operation in Operation::ALL {
        let info = operation.info();
        assert_eq!(Operation::from_name(info.name), Some(*operation));
        assert_eq!(Operation::from_name(info.wire_name), Some(*operation));
        assert_eq!(serde_json::to_value(operation).unwrap(), info.wire_name);
        assert_eq!(camel_case(info.name), info.wire_name);
        assert!(
            info.mutating || info.repeat == Repeat::Safe,
            "{operation}: a read can be repeated"
        );
        assert!(info.permission.split_once(':').is_some(), "{operation}");
    }
    assert_eq!(Operation::from_name("drop_table"), None);
    let never: Vec<_> = Operation::ALL
        .iter()
        .filter(|operation| operation.info().repeat == Repeat::Never)
        .collect();
    assert!(never.contains(&&Operation::Exec), "an exec is never repeated");
    assert_eq!(Operation::CreateContainer.info().repeat, Repeat::WithRequestId);
    // The first thirteen are the original interface: every driver has them.
    assert!(
        Operation::ALL[..13]
            .iter()
            .all(|operation| operation.info().capability.is_none())
    );
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}
