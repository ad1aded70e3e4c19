//! Configs that `create_container` refuses: one row a rule that is broken.

use driver_types::{ContainerConfig, HealthCheckConfig, MountType, PortMapping, ResourceLimits, VolumeMount};

/// A config that breaks one rule.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Where the violation must be reported.
    pub(super) pointer: &'static str,
    pub(super) rule: &'static str,
    pub(super) spoil: fn(ContainerConfig) -> ContainerConfig,
}

const fn row(
    name: &'static str,
    pointer: &'static str,
    rule: &'static str,
    spoil: fn(ContainerConfig) -> ContainerConfig,
) -> Row {
    Row {
        name,
        pointer,
        rule,
        spoil,
    }
}

/// All of them.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    [IDENTITY, PROCESS, RESOURCES, MOUNTS, NETWORK]
        .into_iter()
        .flatten()
}

const IDENTITY: &[Row] = &[
    row("session_empty", "/sessionId", "1.config.sessionId", |c| {
        with_session(c, "")
    }),
    row(
        "session_first_character",
        "/sessionId",
        "1.config.sessionId",
        |c| with_session(c, "-a"),
    ),
    row("session_character", "/sessionId", "1.config.sessionId", |c| {
        with_session(c, "a/b")
    }),
    row("session_not_ascii", "/sessionId", "1.config.sessionId", |c| {
        with_session(c, "sitzung-ä")
    }),
    row("session_too_long", "/sessionId", "1.config.sessionId", |c| {
        with_session(c, &"s".repeat(129))
    }),
    row("image_empty", "/image", "1.config.image", |c| with_image(c, "")),
    row("image_character", "/image", "1.config.image", |c| {
        with_image(c, "an image")
    }),
    row("image_digest", "/image", "1.config.image", |c| {
        with_image(c, "image@sha256:12")
    }),
    row("name_too_short", "/name", "1.config.name", |c| c.name("n")),
    row("name_first_character", "/name", "1.config.name", |c| {
        c.name(".name")
    }),
    row("name_character", "/name", "1.config.name", |c| c.name("a name")),
    row("name_too_long", "/name", "1.config.name", |c| {
        c.name("n".repeat(129))
    }),
    row("request_id_empty", "/requestId", "1.config.requestId", |c| {
        c.request_id("")
    }),
    row("request_id_character", "/requestId", "1.config.requestId", |c| {
        c.request_id("a b")
    }),
    row(
        "label_reserved",
        "/labels/openagent.owner",
        "1.config.labels.reserved",
        |c| c.label("openagent.owner", "me"),
    ),
    row("label_value_too_long", "/labels/key", "1.config.labels", |c| {
        c.label("key", "v".repeat(4097))
    }),
];

const PROCESS: &[Row] = &[
    row("entrypoint_nul", "/entrypoint/1", "1.config.argv", |c| {
        c.entrypoint(["/workload", "a\0b"])
    }),
    row(
        "entrypoint_empty_program",
        "/entrypoint/0",
        "1.config.argv",
        |c| c.entrypoint([""]),
    ),
    row("command_nul", "/command/1", "1.config.argv", |c| {
        c.command(["out", "a\0b"])
    }),
    row(
        "working_dir_relative",
        "/workingDir",
        "1.config.workingDir",
        |c| c.working_dir("work"),
    ),
    row("working_dir_nul", "/workingDir", "1.config.workingDir", |c| {
        c.working_dir("/wo\0rk")
    }),
    row("env_name_digit", "/env/1BAD", "1.config.env", |c| {
        c.env("1BAD", "x")
    }),
    row("env_name_dash", "/env/A-B", "1.config.env", |c| c.env("A-B", "x")),
    row("env_nul", "/env/A", "1.config.env", |c| c.env("A", "x\0y")),
    row("env_too_large", "/env", "1.config.env", |c| {
        c.env("A", "x".repeat(1 << 20))
    }),
    row(
        "healthcheck_form",
        "/healthcheck/test",
        "1.config.healthcheck",
        |c| {
            c.healthcheck(HealthCheckConfig {
                test: vec!["exists".to_owned()],
                ..check()
            })
        },
    ),
    row(
        "healthcheck_interval_zero",
        "/healthcheck/intervalMs",
        "1.config.healthcheck",
        |c| {
            c.healthcheck(HealthCheckConfig {
                interval_ms: 0,
                ..check()
            })
        },
    ),
    row(
        "healthcheck_retries_zero",
        "/healthcheck/retries",
        "1.config.healthcheck",
        |c| {
            c.healthcheck(HealthCheckConfig {
                retries: 0,
                ..check()
            })
        },
    ),
    row("user_form", "/security/user", "1.security.user", |c| {
        with_user(c, "1000:1000:1000")
    }),
    row("user_empty", "/security/user", "1.security.user", |c| {
        with_user(c, "")
    }),
    row(
        "capability_unknown",
        "/security/capabilities/add/0",
        "1.security.capabilities",
        |mut c| {
            c.security = c.security.add_capability("CAP_EVERYTHING");
            c
        },
    ),
    row(
        "capability_unknown_drop",
        "/security/capabilities/drop/1",
        "1.security.capabilities",
        |mut c| {
            c.security.capabilities.drop.push("NOTHING".to_owned());
            c
        },
    ),
];

const RESOURCES: &[Row] = &[
    row("cpu_zero", "/resources/cpu", "1.resources.ranges", |c| {
        limits(c, |l| l.cpu(0.0))
    }),
    row("cpu_too_small", "/resources/cpu", "1.resources.ranges", |c| {
        limits(c, |l| l.cpu(0.009))
    }),
    row("cpu_not_a_number", "/resources/cpu", "1.resources.ranges", |c| {
        limits(c, |l| l.cpu(f64::NAN))
    }),
    row(
        "memory_too_small",
        "/resources/memory",
        "1.resources.ranges",
        |c| limits(c, |l| l.memory(5)),
    ),
    row("disk_zero", "/resources/disk", "1.resources.ranges", |c| {
        limits(c, |l| l.disk(0))
    }),
    row("pids_zero", "/resources/pids", "1.resources.ranges", |c| {
        limits(c, |l| l.pids(0))
    }),
    row(
        "pids_one_with_init",
        "/resources/pids",
        "1.config.init.pids",
        |c| limits(c, |l| l.pids(1)).init(true),
    ),
];

const MOUNTS: &[Row] = &[
    row(
        "volume_source_empty",
        "/volumes/0/source",
        "1.config.volumes",
        |c| mount(c, "", "/data"),
    ),
    row(
        "volume_source_character",
        "/volumes/0/source",
        "1.config.volumes",
        |c| mount(c, "a b", "/data"),
    ),
    row(
        "volume_target_relative",
        "/volumes/0/target",
        "1.config.volumes",
        |c| mount(c, "vol", "data"),
    ),
    row(
        "volume_target_root",
        "/volumes/0/target",
        "1.config.volumes",
        |c| mount(c, "vol", "/"),
    ),
    row(
        "volume_target_proc",
        "/volumes/0/target",
        "1.config.volumes",
        |c| mount(c, "vol", "/proc"),
    ),
    row(
        "volume_target_below_sys",
        "/volumes/0/target",
        "1.config.volumes",
        |c| mount(c, "vol", "/sys/fs/x"),
    ),
    row(
        "volume_target_below_dev",
        "/volumes/0/target",
        "1.config.volumes",
        |c| mount(c, "vol", "/dev/shm"),
    ),
    row(
        "volume_target_dots",
        "/volumes/0/target",
        "1.config.volumes",
        |c| mount(c, "vol", "/a/../proc"),
    ),
    row(
        "volume_target_slashes",
        "/volumes/0/target",
        "1.config.volumes",
        |c| mount(c, "vol", "/a//b"),
    ),
    row(
        "volume_target_twice",
        "/volumes/1/target",
        "1.config.volumes",
        |c| mount(mount(c, "vol", "/data"), "other", "/data"),
    ),
    row("bind_without_path", "/volumes/0/source", "1.mounts.kind", |c| {
        c.volume(VolumeMount {
            mount_type: Some(MountType::Bind),
            ..VolumeMount::new("vol", "/data")
        })
    }),
    row("volume_with_path", "/volumes/0/source", "1.mounts.kind", |c| {
        c.volume(VolumeMount {
            mount_type: Some(MountType::Volume),
            ..VolumeMount::new("/srv", "/data")
        })
    }),
    row("tmpfs_target_proc", "/tmpfs/0/target", "1.config.tmpfs", |c| {
        c.tmpfs("/proc/x", 1)
    }),
    row("tmpfs_size_zero", "/tmpfs/0/sizeMib", "1.config.tmpfs", |c| {
        c.tmpfs("/scratch", 0)
    }),
    row(
        "tmpfs_target_of_a_volume",
        "/tmpfs/0/target",
        "1.config.tmpfs",
        |c| mount(c, "vol", "/data").tmpfs("/data", 1),
    ),
];

const NETWORK: &[Row] = &[
    row("port_zero", "/ports/0/containerPort", "1.config.ports", |c| {
        port(c, PortMapping::tcp(0))
    }),
    row("port_host_ip", "/ports/0/hostIp", "1.config.ports", |c| {
        port(
            c,
            PortMapping {
                host_ip: Some("localhost".to_owned()),
                ..PortMapping::tcp(80)
            },
        )
    }),
    row("port_twice", "/ports/1", "1.config.ports", |c| {
        port(
            port(c, PortMapping::tcp(80).host_port(8080)),
            PortMapping::tcp(81).host_port(8080),
        )
    }),
    row("ports_without_network", "/ports", "1.config.ports", |c| {
        c.port(PortMapping::tcp(80)).network("none")
    }),
    row("network_character", "/network", "1.config.network", |c| {
        c.network("a network")
    }),
    row("network_empty", "/network", "1.config.network", |c| c.network("")),
    row("hostname_character", "/hostname", "1.config.hosts", |c| {
        c.hostname("under_score")
    }),
    row("hostname_too_long", "/hostname", "1.config.hosts", |c| {
        c.hostname("h".repeat(64))
    }),
    row("dns_no_address", "/dns/0", "1.config.hosts", |c| {
        c.dns("dns.example")
    }),
    row(
        "extra_host_no_address",
        "/extraHosts/peer",
        "1.config.hosts",
        |c| c.extra_host("peer", "nowhere"),
    ),
];

pub(super) fn with_session(config: ContainerConfig, session: &str) -> ContainerConfig {
    ContainerConfig {
        session_id: session.to_owned(),
        ..config
    }
}

pub(super) fn with_image(config: ContainerConfig, image: &str) -> ContainerConfig {
    ContainerConfig {
        image: image.to_owned(),
        ..config
    }
}

fn with_user(mut config: ContainerConfig, user: &str) -> ContainerConfig {
    config.security = config.security.user(user);
    config
}

pub(super) fn limits(
    mut config: ContainerConfig,
    change: fn(ResourceLimits) -> ResourceLimits,
) -> ContainerConfig {
    config.resources = change(config.resources);
    config
}

fn mount(config: ContainerConfig, source: &str, target: &str) -> ContainerConfig {
    config.volume(VolumeMount::new(source, target))
}

fn port(config: ContainerConfig, port: PortMapping) -> ContainerConfig {
    config.network(ContainerConfig::NETWORK_DEFAULT).port(port)
}

fn check() -> HealthCheckConfig {
    HealthCheckConfig::command(["/workload", "exists", "/readable"])
}
