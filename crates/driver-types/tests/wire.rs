//! The wire form: every type is read from JSON and written as the same JSON, full and minimal; defaults are filled in;
//! what is unknown is refused in inputs.

#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use driver_types::*;
use rstest::rstest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json, to_value};

/// Reads `wire`, and expects to write the same.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(wire: &Value) {
    let value: T = from_value(wire.clone()).unwrap_or_else(|error| panic!("{error}: {wire}"));
    assert_eq!(to_value(&value).unwrap(), *wire);
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value);
}

fn full_config() -> Value {
    json!({
        "sessionId": "session-1",
        "image": "ghcr.io/org/app:1@sha256:abc",
        "name": "web",
        "requestId": "request-1",
        "entrypoint": ["/entry"],
        "command": ["serve", "--port", "80"],
        "workingDir": "/srv",
        "env": {"TOKEN": "secret"},
        "labels": {"tier": "web"},
        "resources": {"cpu": 1.5, "memory": 256, "disk": 512, "pids": 50},
        "volumes": [
            {"source": "data", "target": "/data", "readOnly": false, "type": "volume"},
            {"source": "/srv", "target": "/srv", "readOnly": true},
        ],
        "tmpfs": [{"target": "/run", "sizeMib": 8}],
        "ports": [{"containerPort": 80, "hostPort": 8080, "hostIp": "0.0.0.0", "protocol": "tcp"}, {"containerPort": 53, "protocol": "udp"}],
        "network": "default",
        "hostname": "web-1",
        "dns": ["1.1.1.1"],
        "extraHosts": {"db": "10.0.0.5"},
        "security": {
            "readOnly": false,
            "noNewPrivileges": true,
            "user": "app:app",
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "seccomp": "unconfined",
        },
        "healthcheck": {"test": ["CMD", "true"], "intervalMs": 1000, "timeoutMs": 500, "retries": 2, "startPeriodMs": 100},
        "init": false,
        "stdin": true,
        "tty": true,
        "stopSignal": "SIGINT",
        "pullPolicy": "always",
    })
}

fn instance() -> Value {
    json!({
        "id": "c1",
        "name": "web",
        "sessionId": "session-1",
        "image": "app:1",
        "imageDigest": "sha256:abc",
        "status": "exited",
        "state": "terminated",
        "endpoint": "docker://c1",
        "createdAt": 1,
        "startedAt": 2,
        "finishedAt": 3,
        "exit": {"exitCode": 137, "signal": "SIGKILL", "reason": "oom", "finishedAt": 3},
        "health": {
            "status": "unhealthy",
            "failingStreak": 3,
            "checks": [{"startedAt": 2, "finishedAt": 3, "exitCode": 1, "output": "no"}],
        },
        "ports": [{"containerPort": 80, "hostPort": 49153, "hostIp": "127.0.0.1", "protocol": "tcp"}],
        "addresses": [{"network": "default", "ip": "10.0.0.2"}],
        "labels": {"tier": "web"},
        "resources": {"cpu": 0.5, "memory": 512, "disk": 1024, "pids": 100},
        "enforcement": {
            "cpu": {"level": "native"},
            "memory": {"level": "native"},
            "disk": {"level": "emulated", "reason": "measured"},
            "pids": {"level": "none", "reason": "no cgroups"},
        },
        "driver": "docker",
        "restarts": 2,
    })
}

#[test]
fn the_types_of_a_container_survive_the_wire() {
    round_trip::<ContainerConfig>(&full_config());
    round_trip::<ContainerInstance>(&instance());
    for reason in ["exited", "signaled", "oom", "stopped", "removed", "unknown"] {
        round_trip::<ExitInfo>(&json!({"reason": reason, "finishedAt": 1}));
    }
    for status in ContainerStatus::ALL {
        round_trip::<ContainerStatus>(&json!(status.name()));
    }
    round_trip::<ContainerStats>(&json!({
        "time": 1,
        "cpu": {"usageNanos": 1, "throttledNanos": 2, "throttledPeriods": 3},
        "memory": {"currentBytes": 1, "peakBytes": 2, "limitBytes": 3, "oomKills": 4},
        "pids": {"current": 1, "limit": 2},
        "blockIo": {"readBytes": 1, "writeBytes": 2},
        "network": {"rxBytes": 1, "txBytes": 2, "rxPackets": 3, "txPackets": 4},
        "diskUsedBytes": 5,
    }));
    // A counter that the engine lacks is absent, never 0.
    round_trip::<ContainerStats>(&json!({"time": 1, "cpu": {}, "memory": {}, "pids": {}, "blockIo": {}}));
}

#[test]
fn options_survive_the_wire() {
    round_trip::<StopOptions>(&json!({"timeout": 0, "force": true, "signal": "SIGHUP"}));
    round_trip::<RemoveOptions>(&json!({"force": true, "volumes": true, "ignoreMissing": true}));
    round_trip::<ContainerFilter>(&json!({
        "sessionId": "s", "status": ["running", "paused"], "state": "running", "labels": {"a": "b"}, "namePrefix": "w", "allOwners": true,
    }));
    round_trip::<LogOptions>(&json!({
        "tail": 0, "since": 1, "until": 2, "timestamps": true, "stdout": false, "stderr": false, "follow": true,
    }));
    round_trip::<LogFrame>(&json!({"stream": "stderr", "time": 1, "data": {"base64": "/w=="}}));
    round_trip::<EventFilter>(&json!({"containerId": "c", "sessionId": "s", "types": ["oom"]}));
    for condition in ["exited", "removed"] {
        round_trip::<WaitCondition>(&json!(condition));
    }
    for mode in ["leave", "stop", "remove"] {
        round_trip::<ShutdownMode>(&json!(mode));
    }
}

#[test]
fn processes_survive_the_wire() {
    round_trip::<ExecSpec>(&json!({
        "command": ["sh"], "env": {"A": "b"}, "workingDir": "/", "user": "0:0", "tty": true,
        "terminalSize": {"rows": 24, "columns": 80}, "stdin": "in", "attachStdin": true, "timeoutMs": 5, "maxOutputBytes": 0,
    }));
    round_trip::<ExecResult>(&json!({
        "exitCode": 143, "signal": "SIGTERM", "timedOut": true, "stdout": "out", "stderr": {"base64": "/w=="},
        "stdoutTruncated": true, "stderrTruncated": false, "durationMs": 9,
    }));
    round_trip::<ProcessFrame>(&json!({"type": "stdout", "data": "x"}));
    round_trip::<ProcessFrame>(&json!({"type": "stderr", "data": {"base64": "/w=="}}));
    round_trip::<ProcessFrame>(
        &json!({"type": "exit", "exitCode": 137, "signal": "SIGKILL", "timedOut": false}),
    );
}

#[test]
fn events_survive_the_wire_under_their_names() {
    let details = |name: &str| match name {
        "exited" => json!({"exit": {"exitCode": 0, "reason": "exited", "finishedAt": 1}}),
        "health" => json!({"status": "healthy"}),
        "imageAdded" | "imageRemoved" => json!({"reference": "app:1"}),
        "volumeCreated" | "volumeRemoved" | "networkCreated" | "networkRemoved" => json!({"name": "data"}),
        _ => json!({}),
    };
    for name in EventKind::NAMES {
        let mut wire = json!({"time": 1, "containerId": "c", "sessionId": "s", "type": name});
        wire.as_object_mut()
            .unwrap()
            .extend(details(name).as_object().unwrap().clone());
        round_trip::<Event>(&wire);
        assert_eq!(from_value::<Event>(wire).unwrap().kind.name(), name);
    }
}

#[test]
fn volumes_networks_and_images_survive_the_wire() {
    round_trip::<VolumeConfig>(&json!({"name": "data", "labels": {"a": "b"}, "sizeMib": 10}));
    round_trip::<Volume>(&json!({
        "id": "v", "name": "data", "driver": "docker", "labels": {}, "createdAt": 1, "sizeMib": 10, "mountpoint": "/m",
    }));
    round_trip::<NetworkConfig>(
        &json!({"name": "net", "labels": {"a": "b"}, "internal": true, "subnet": "10.1.2.0/24"}),
    );
    round_trip::<Network>(&json!({
        "id": "n", "name": "net", "driver": "docker", "labels": {}, "createdAt": 1, "internal": false,
        "subnet": "10.1.2.0/24", "gateway": "10.1.2.1",
    }));
    let image = json!({"id": "sha256:abc", "references": ["app:1"], "sizeBytes": 1, "createdAt": 2, "labels": {"a": "b"}});
    round_trip::<Image>(&image);
    round_trip::<PullProgress>(&json!({
        "status": "complete", "layer": "l", "currentBytes": 1, "totalBytes": 2, "image": image,
    }));
    round_trip::<ImportOptions>(&json!({
        "reference": "app:1", "entrypoint": ["/e"], "command": ["c"], "env": {"A": "b"}, "workingDir": "/", "labels": {"a": "b"},
    }));
}

#[test]
fn a_pull_request_keeps_its_password_out_of_debug_output() {
    let wire = json!({"reference": "app:1", "auth": {"username": "me", "password": "hunter2"}});
    let request: PullRequest = from_value(wire.clone()).unwrap();
    assert_eq!(to_value(&request).unwrap(), wire);
    assert!(!format!("{request:?}").contains("hunter2"));
}

#[test]
fn what_drivers_tell_of_themselves_survives_the_wire() {
    round_trip::<DriverHealth>(&json!({
        "status": "unhealthy", "checkedAt": 1, "latencyMs": 2, "engine": "Docker 20.10", "error": "connection refused",
    }));
    round_trip::<Plan>(&json!({
        "driver": "docker", "feasible": false, "image": "app:1", "imageDigest": "sha256:abc", "pull": true,
        "items": [{"pointer": "/resources/disk", "support": "none", "reason": "no quota"}],
    }));
    round_trip::<Preflight>(&json!({
        "checks": [{"name": "kernel", "status": "warn", "message": "5.4", "remedy": "use 5.10 or newer"}],
    }));
    let capabilities = Capabilities::all().with(Capability::DiskLimit, Support::emulated("measured"));
    round_trip::<Capabilities>(&to_value(&capabilities).unwrap());
    for capability in Capability::ALL {
        round_trip::<Capability>(&json!(capability.name()));
    }
}

#[test]
fn recovery_survives_the_wire() {
    round_trip::<RecoveryReport>(&json!({
        "adopted": [instance()], "exited": [], "orphaned": [{"kind": "container", "id": "c2"}],
    }));
    round_trip::<ReapPolicy>(&json!({
        "maxAgeMs": 1, "liveOwners": ["a"], "liveSessions": [], "graceMs": 0, "dryRun": true,
    }));
    let failure = to_value(DriverError::container_remove("c3", "busy")).unwrap();
    round_trip::<ReapReport>(&json!({
        "removed": [
            {"object": {"kind": "volume", "id": "v"}, "reason": "expired"},
            {"object": {"kind": "network", "id": "n"}, "reason": "ownerless"},
            {"object": {"kind": "image", "id": "i"}, "reason": "orphaned"},
        ],
        "failed": [{"object": {"kind": "container", "id": "c3"}, "error": failure}],
        "dryRun": true,
    }));
}

/// A config with nothing but what is required has the secure defaults, and says so on the wire.
#[test]
fn the_defaults_of_a_config() {
    let config: ContainerConfig = from_value(json!({"sessionId": "s", "image": "i"})).unwrap();
    assert_eq!(config, ContainerConfig::new("s", "i"));
    insta::assert_json_snapshot!(config);
}

#[test]
fn partial_structures_are_filled_with_the_defaults() {
    let config: ContainerConfig = from_value(json!({
        "sessionId": "s", "image": "i", "resources": {"memory": 64}, "security": {"user": "0"},
        "healthcheck": {"test": ["CMD", "true"]}, "volumes": [{"source": "data", "target": "/data"}],
    }))
    .unwrap();
    assert_eq!(config.resources, ResourceLimits::default().memory(64));
    assert_eq!(config.security, SecurityOptions::default().user("0"));
    assert_eq!(config.healthcheck, Some(HealthCheckConfig::command(["true"])));
    assert_eq!(config.volumes, [VolumeMount::new("data", "/data")]);
    assert_eq!(
        from_value::<StopOptions>(json!({})).unwrap(),
        StopOptions::default()
    );
    assert_eq!(
        from_value::<LogOptions>(json!({})).unwrap(),
        LogOptions::default()
    );
    assert_eq!(
        from_value::<ExecSpec>(json!({"command": ["ls"]})).unwrap(),
        ExecSpec::new(["ls"])
    );
}

/// Nothing that a caller misspells is ignored.
#[rstest]
#[case::config(from_value::<ContainerConfig>(json!({"sessionId": "s", "image": "i", "imge": 1})).is_err())]
#[case::resources(from_value::<ResourceLimits>(json!({"ram": 1})).is_err())]
#[case::security(from_value::<SecurityOptions>(json!({"privileged": true})).is_err())]
#[case::linux_capabilities(from_value::<LinuxCapabilities>(json!({"keep": []})).is_err())]
#[case::volume_mount(from_value::<VolumeMount>(json!({"source": "a", "target": "/a", "mode": "ro"})).is_err())]
#[case::tmpfs(from_value::<TmpfsMount>(json!({"target": "/a", "sizeMib": 1, "mode": 1})).is_err())]
#[case::port(from_value::<PortMapping>(json!({"containerPort": 1, "port": 1})).is_err())]
#[case::healthcheck(from_value::<HealthCheckConfig>(json!({"test": [], "interval": 1})).is_err())]
#[case::stop(from_value::<StopOptions>(json!({"timeoutMs": 1})).is_err())]
#[case::remove(from_value::<RemoveOptions>(json!({"forced": true})).is_err())]
#[case::filter(from_value::<ContainerFilter>(json!({"session": "s"})).is_err())]
#[case::logs(from_value::<LogOptions>(json!({"lines": 1})).is_err())]
#[case::exec(from_value::<ExecSpec>(json!({"command": [], "cmd": []})).is_err())]
#[case::terminal(from_value::<TerminalSize>(json!({"rows": 1, "columns": 1, "x": 1})).is_err())]
#[case::volume(from_value::<VolumeConfig>(json!({"name": "v", "size": 1})).is_err())]
#[case::network(from_value::<NetworkConfig>(json!({"name": "n", "cidr": "x"})).is_err())]
#[case::pull(from_value::<PullRequest>(json!({"reference": "r", "tag": "x"})).is_err())]
#[case::auth(from_value::<RegistryAuth>(json!({"username": "u", "password": "p", "token": "t"})).is_err())]
#[case::import(from_value::<ImportOptions>(json!({"reference": "r", "cmd": []})).is_err())]
#[case::events(from_value::<EventFilter>(json!({"container": "c"})).is_err())]
#[case::reap(from_value::<ReapPolicy>(json!({"maxAge": 1})).is_err())]
fn an_input_with_an_unknown_field_is_refused(#[case] refused: bool) {
    assert!(refused);
}

#[rstest]
#[case::missing_image(json!({"sessionId": "s"}), "image")]
#[case::missing_session(json!({"image": "i"}), "sessionId")]
#[case::fractional_memory(json!({"sessionId": "s", "image": "i", "resources": {"memory": 1.5}}), "1.5")]
#[case::negative_pids(json!({"sessionId": "s", "image": "i", "resources": {"pids": -1}}), "-1")]
#[case::port_out_of_range(json!({"sessionId": "s", "image": "i", "ports": [{"containerPort": 65536}]}), "65536")]
#[case::shell_string(json!({"sessionId": "s", "image": "i", "command": "rm -rf /"}), "sequence")]
#[case::unknown_policy(json!({"sessionId": "s", "image": "i", "pullPolicy": "often"}), "often")]
fn a_config_of_another_shape_is_refused_and_the_error_tells_why(#[case] wire: Value, #[case] told: &str) {
    let error = from_value::<ContainerConfig>(wire).unwrap_err().to_string();
    assert!(error.contains(told), "{error}");
}
