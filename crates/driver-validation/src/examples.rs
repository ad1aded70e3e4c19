//! Example values of every wire type, for the `examples` of the schemas and for the fixtures.

use bytes::Bytes;
use driver_types::{
    Capabilities, Capability, CheckStatus, ContainerConfig, ContainerFilter, ContainerHealth,
    ContainerInstance, ContainerState, ContainerStats, ContainerStatus, CpuStats, Data, DriverError,
    DriverHealth, DriverStatus, Enforcement, Event, EventFilter, EventKind, ExecResult, ExecSpec, ExitInfo,
    ExitReason, HealthCheckConfig, HealthCheckRun, HealthStatus, Image, ImportOptions, Labels, LogFrame,
    LogOptions, MemoryStats, Network, NetworkAddress, NetworkConfig, NetworkStats, ObjectKind, ObjectRef,
    OutputStream, PidsStats, Plan, PlanItem, PortMapping, PortProtocol, Preflight, PreflightCheck,
    ProcessExit, ProcessFrame, PublishedPort, PullProgress, PullRequest, ReapFailure, ReapPolicy, ReapReason,
    ReapReport, Reaped, RecoveryReport, RemoveOptions, ResourceLimits, SecurityOptions, ShutdownMode, Signal,
    StopOptions, Support, SupportLevel, TerminalSize, TmpfsMount, Volume, VolumeConfig, VolumeMount,
    WaitCondition,
};

/// A wire type with examples that fit its schema in both forms.
pub(crate) trait Example: Sized {
    fn examples() -> Vec<Self>;
}

macro_rules! examples {
    ($( $wire_type:ident: [ $( $example:expr ),* $(,)? ]; )*) => { $(
        impl Example for $wire_type {
            fn examples() -> Vec<Self> {
                vec![ $( $example ),* ]
            }
        }
    )* };
}

const TIME: u64 = 1_767_225_600_000;
const ID: &str = "3f4e9c2b7a51";
const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

examples! {
    ContainerConfig: [
        ContainerConfig::new("session-1", "alpine:3.20").command(["echo", "hello"]),
        service(),
    ];
    ResourceLimits: [ResourceLimits::default(), ResourceLimits::default().cpu(2.0).memory(2048)];
    SecurityOptions: [SecurityOptions::default(), SecurityOptions::default().add_capability("NET_BIND_SERVICE")];
    VolumeMount: [VolumeMount::new("cache", "/cache"), VolumeMount::new("/srv/data", "/data").read_only(true)];
    TmpfsMount: [TmpfsMount { target: "/run".into(), size_mib: 16 }];
    PortMapping: [PortMapping::tcp(8080), PortMapping::udp(53).host_port(5353)];
    HealthCheckConfig: [HealthCheckConfig::command(["wget", "-q", "-O-", "http://127.0.0.1:8080/healthz"])];
    ContainerInstance: [running(), ended()];
    ContainerStatus: [ContainerStatus::Running];
    ExitInfo: [exit()];
    Enforcement: [enforcement()];
    ContainerFilter: [ContainerFilter::session("session-1")];
    StopOptions: [StopOptions::timeout(500), StopOptions { signal: Some(Signal::INT), ..StopOptions::default() }];
    RemoveOptions: [RemoveOptions::force()];
    WaitCondition: [WaitCondition::Exited];
    ShutdownMode: [ShutdownMode::Stop];
    Signal: [Signal::TERM];
    LogOptions: [LogOptions::tail(100)];
    LogFrame: [LogFrame { stream: OutputStream::Stdout, time: TIME, data: text("ready\n") }];
    ExecSpec: [ExecSpec::new(["sh", "-c", "id -u"]).timeout_ms(5000), ExecSpec::new(["cat"]).stdin("hello\n")];
    ExecResult: [exec_result()];
    ProcessFrame: [
        ProcessFrame::Stdout { data: text("1000\n") },
        ProcessFrame::Stderr { data: Data(Bytes::from_static(b"\xff\xfe")) },
        ProcessFrame::Exit(ProcessExit { exit_code: 143, signal: Some(Signal::TERM), timed_out: true }),
    ];
    TerminalSize: [TerminalSize { rows: 24, columns: 80 }];
    ContainerStats: [stats()];
    Event: [
        event(EventKind::Started),
        event(EventKind::Exited { exit: exit() }),
        Event { time: TIME, container_id: None, session_id: None, kind: EventKind::VolumeCreated { name: "cache".into() } },
    ];
    EventFilter: [EventFilter { types: vec!["exited".into()], ..EventFilter::container(ID) }];
    DriverHealth: [healthy(), unhealthy()];
    VolumeConfig: [VolumeConfig::new("cache").label("team", "build")];
    Volume: [volume()];
    NetworkConfig: [NetworkConfig::new("backend").subnet("10.1.2.0/24").internal(true)];
    Network: [network()];
    PullRequest: [PullRequest::new("alpine:3.20")];
    PullProgress: [
        PullProgress {
            status: "downloading".into(),
            layer: Some("9f86d081884c".into()),
            current_bytes: Some(1 << 20),
            total_bytes: Some(3 << 20),
            image: None,
        },
        PullProgress {
            status: PullProgress::COMPLETE.into(),
            layer: None,
            current_bytes: None,
            total_bytes: None,
            image: Some(image()),
        },
    ];
    ImportOptions: [ImportOptions { entrypoint: vec!["/bin/tool".into()], ..ImportOptions::new("tool:1") }];
    Image: [image()];
    Capabilities: [
        Capabilities::none()
            .with(Capability::Exec, Support::native())
            .with(Capability::DiskLimit, Support::none("the file system has no project quotas")),
    ];
    Preflight: [preflight()];
    Plan: [plan()];
    RecoveryReport: [RecoveryReport { adopted: Vec::new(), exited: vec![ended()], orphaned: vec![object()] }];
    ReapPolicy: [ReapPolicy { max_age_ms: Some(3_600_000), dry_run: true, ..ReapPolicy::default() }];
    ReapReport: [reap_report()];
    DriverError: [
        DriverError::container_not_found(ID).with_operation("start_container").with_driver("docker"),
        DriverError::resource_limit("cpu", 4.0, 8.0).with_operation("create_container"),
    ];
}

fn service() -> ContainerConfig {
    ContainerConfig::new("session-1", "ghcr.io/team/server:2.1")
        .name("server-1")
        .request_id("req-42")
        .env("LOG_LEVEL", "info")
        .label("team", "search")
        .resources(ResourceLimits::default().cpu(1.5).memory(1024).pids(200))
        .volume(VolumeMount::new("cache", "/var/cache/server"))
        .volume(VolumeMount::new("/srv/models", "/models").read_only(true))
        .tmpfs("/tmp", 128)
        .network(ContainerConfig::NETWORK_DEFAULT)
        .port(PortMapping::tcp(8080).host_port(18080))
        .healthcheck(HealthCheckConfig::command(["/server", "--check"]))
        .stop_signal(Signal::INT)
}

fn text(text: &'static str) -> Data {
    Data(Bytes::from_static(text.as_bytes()))
}

fn exit() -> ExitInfo {
    ExitInfo {
        exit_code: Some(137),
        signal: Some(Signal::KILL),
        reason: ExitReason::Oom,
        finished_at: TIME + 60_000,
    }
}

fn enforcement() -> Enforcement {
    Enforcement {
        cpu: Support::native(),
        memory: Support::native(),
        disk: Support::emulated("measured every second"),
        pids: Support::native(),
    }
}

fn running() -> ContainerInstance {
    ContainerInstance {
        id: ID.into(),
        name: "server-1".into(),
        session_id: "session-1".into(),
        image: "alpine:3.20".into(),
        image_digest: Some(DIGEST.into()),
        status: ContainerStatus::Running,
        state: ContainerState::Running,
        endpoint: "tcp://127.0.0.1:18080".into(),
        created_at: TIME,
        started_at: Some(TIME + 200),
        finished_at: None,
        exit: None,
        health: Some(ContainerHealth {
            status: HealthStatus::Healthy,
            failing_streak: 0,
            checks: vec![HealthCheckRun {
                started_at: TIME + 5000,
                finished_at: TIME + 5010,
                exit_code: 0,
                output: "ok".into(),
            }],
        }),
        ports: vec![PublishedPort {
            container_port: 8080,
            host_port: 18080,
            host_ip: PortMapping::DEFAULT_HOST_IP.into(),
            protocol: PortProtocol::Tcp,
        }],
        addresses: vec![NetworkAddress {
            network: ContainerConfig::NETWORK_DEFAULT.into(),
            ip: "172.18.0.2".into(),
        }],
        labels: Labels::from([("team".to_owned(), "search".to_owned())]),
        resources: ResourceLimits::default(),
        enforcement: enforcement(),
        driver: "docker".into(),
        restarts: 0,
    }
}

fn ended() -> ContainerInstance {
    ContainerInstance {
        status: ContainerStatus::Exited,
        state: ContainerState::Terminated,
        endpoint: format!("docker://{ID}"),
        finished_at: Some(TIME + 60_000),
        exit: Some(exit()),
        health: None,
        ports: Vec::new(),
        addresses: Vec::new(),
        ..running()
    }
}

fn exec_result() -> ExecResult {
    ExecResult {
        exit_code: 0,
        signal: None,
        timed_out: false,
        stdout: text("1000\n"),
        stderr: text(""),
        stdout_truncated: false,
        stderr_truncated: false,
        duration_ms: 12,
    }
}

fn stats() -> ContainerStats {
    ContainerStats {
        time: TIME,
        cpu: CpuStats {
            usage_nanos: Some(1_200_000_000),
            throttled_nanos: Some(0),
            throttled_periods: Some(0),
        },
        memory: MemoryStats {
            current_bytes: Some(24 << 20),
            limit_bytes: Some(512 << 20),
            ..MemoryStats::default()
        },
        pids: PidsStats {
            current: Some(3),
            limit: Some(100),
        },
        network: Some(NetworkStats {
            rx_bytes: 1024,
            tx_bytes: 512,
            rx_packets: 12,
            tx_packets: 8,
        }),
        ..ContainerStats::default()
    }
}

fn event(kind: EventKind) -> Event {
    Event {
        time: TIME,
        container_id: Some(ID.into()),
        session_id: Some("session-1".into()),
        kind,
    }
}

fn healthy() -> DriverHealth {
    DriverHealth {
        status: DriverStatus::Healthy,
        checked_at: TIME,
        latency_ms: 2,
        engine: Some("Docker 20.10.24".into()),
        error: None,
    }
}

fn unhealthy() -> DriverHealth {
    DriverHealth {
        status: DriverStatus::Unhealthy,
        engine: None,
        error: Some("connection refused".into()),
        ..healthy()
    }
}

fn volume() -> Volume {
    Volume {
        id: "cache".into(),
        name: "cache".into(),
        driver: "docker".into(),
        labels: Labels::new(),
        created_at: TIME,
        size_mib: None,
        mountpoint: Some("/var/lib/docker/volumes/cache/_data".into()),
    }
}

fn network() -> Network {
    Network {
        id: ID.into(),
        name: "backend".into(),
        driver: "docker".into(),
        labels: Labels::new(),
        created_at: TIME,
        internal: true,
        subnet: Some("10.1.2.0/24".into()),
        gateway: Some("10.1.2.1".into()),
    }
}

fn image() -> Image {
    Image {
        id: DIGEST.into(),
        references: vec!["alpine:3.20".into()],
        size_bytes: 7_800_000,
        created_at: TIME,
        labels: Labels::new(),
    }
}

fn preflight() -> Preflight {
    Preflight {
        checks: vec![
            PreflightCheck {
                name: "engine".into(),
                status: CheckStatus::Ok,
                message: "Docker 20.10.24".into(),
                remedy: None,
            },
            PreflightCheck {
                name: "disk quota".into(),
                status: CheckStatus::Warn,
                message: "the storage driver has no quotas".into(),
                remedy: Some("use xfs with pquota".into()),
            },
        ],
    }
}

fn plan() -> Plan {
    Plan {
        driver: "docker".into(),
        feasible: false,
        image: "alpine:3.20".into(),
        image_digest: None,
        pull: true,
        items: vec![
            PlanItem {
                pointer: "/resources/memory".into(),
                support: SupportLevel::Native,
                reason: None,
            },
            PlanItem {
                pointer: "/network".into(),
                support: SupportLevel::None,
                reason: Some("not declared by the driver".into()),
            },
        ],
    }
}

fn object() -> ObjectRef {
    ObjectRef {
        kind: ObjectKind::Volume,
        id: "cache".into(),
    }
}

fn reap_report() -> ReapReport {
    ReapReport {
        removed: vec![Reaped {
            object: object(),
            reason: ReapReason::Ownerless,
        }],
        failed: vec![ReapFailure {
            object: object(),
            error: DriverError::volume_remove("cache", "it is in use"),
        }],
        dry_run: false,
    }
}
