//! The texts of violations, pinned by snapshots.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use driver_types::{
    Capabilities, Capability, ContainerConfig, PortMapping, SecurityOptions, Support, VolumeMount,
};
use driver_validation::{
    Capacity, check_capabilities, check_capacity, plan_items, validate_config, validate_config_json,
};
use rstest::rstest;
use serde_json::Value;

fn violations(text: &str) -> String {
    match validate_config_json(text) {
        Ok(_) => "valid\n".to_owned(),
        Err(error) => error
            .violation_list()
            .iter()
            .map(|violation| format!("  {violation}\n"))
            .collect(),
    }
}

#[test]
fn messages_of_the_rules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fixtures/rules.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut report = String::new();
    for case in file["cases"].as_array().unwrap() {
        if case["valid"] == false && case["schema"] == "container-config.input.schema.json" {
            let name = case["name"].as_str().unwrap();
            write!(report, "{name}\n{}", violations(&case["instance"].to_string())).unwrap();
        }
    }
    insta::assert_snapshot!(report);
}

#[rstest]
#[case::empty_text("")]
#[case::no_json("{sessionId: s1}")]
#[case::cut_off(r#"{"sessionId": "s1", "#)]
#[case::text_after_the_end(r#"{"sessionId": "s1", "image": "alpine"} {}"#)]
#[case::not_an_object("[]")]
#[case::nothing_given("{}")]
#[case::misspelt(r#"{"sessionID": "s1", "image": "alpine", "work_dir": "/", "bogus": 1}"#)]
#[case::misspelt_inside(r#"{"sessionId": "s1", "image": "alpine", "resources": {"mem": 1, "cpus": 2}}"#)]
#[case::wrong_types(
    r#"{"sessionId": 1, "image": null, "env": {"A": 1}, "command": "ls", "tty": "yes", "healthcheck": 3,
        "stopSignal": 15, "resources": {"memory": "1g", "cpu": [1]}, "ports": [{"containerPort": "80"}]}"#
)]
#[case::wrong_choices(
    r#"{"sessionId": "s1", "image": "alpine", "pullPolicy": "often", "stopSignal": "SIGNOPE",
        "security": {"seccomp": "off"}, "volumes": [{"source": "data", "target": "/data", "type": "nfs"}]}"#
)]
#[case::out_of_bounds(
    r#"{"sessionId": "s1", "image": "alpine", "resources": {"cpu": 0, "memory": 5, "disk": -1, "pids": 1.5},
        "ports": [{"containerPort": 70000}], "network": "default", "healthcheck": {"test": ["CMD", "x"], "retries": 0}}"#
)]
#[case::shape_and_rules_at_once(
    r#"{"sessionId": "s 1", "image": "Alpine", "bogus": 1, "env": {"1A": "secret", "B": 7}, "tmpfs": [{"target": "/"}],
        "volumes": [{"source": "data", "target": "/proc", "readonly": true}], "dns": ["x"], "network": 5}"#
)]
#[case::arrays_for_objects(r#"{"sessionId": "s1", "image": "alpine", "resources": [0.5, 512, 1024, 100]}"#)]
#[case::objects_for_choices(r#"{"sessionId": "s1", "image": "alpine", "pullPolicy": {"never": null}}"#)]
fn messages_of_the_schema(#[case] text: &str) {
    let name = std::thread::current()
        .name()
        .unwrap()
        .rsplit("::")
        .next()
        .unwrap()
        .to_owned();
    insta::assert_snapshot!(name, violations(text));
}

#[rstest]
#[case(r#"{"sessionId": "s1", "image": "alpine", "env": {"A": "hunter2\u0000"}}"#)]
#[case(r#"{"sessionId": "s1", "image": "alpine", "env": {"A": ["hunter2"]}}"#)]
#[case(r#"{"sessionId": "s1", "image": "alpine", "env": "hunter2"}"#)]
#[case(r#"{"sessionId": "s1", "image": "alpine", "env": [["A", "hunter2"]]}"#)]
#[case(r#"{"sessionId": "s1", "image": "alpine", "env": {"A": "hunter2}"#)]
fn values_of_env_are_in_no_message(#[case] text: &str) {
    let error = validate_config_json(text).unwrap_err();
    for text in [
        error.to_string(),
        error.report(),
        format!("{error:?}"),
        serde_json::to_string(&error).unwrap(),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_document_beyond_the_cap_is_refused() {
    let text = format!("\"{}\"", "x".repeat(driver_validation::MAX_DOCUMENT_BYTES));
    insta::assert_snapshot!(violations(&text), @"  the document has 16777218 bytes, more than 16777216 (pass large data as a file)");
}

/// A document of a size that is still read is answered in bounded time and with a bounded report.
#[test]
fn a_document_that_breaks_a_rule_very_often_is_answered_shortly() {
    let many = |item: &str| format!("[{}]", vec![item; 20_000].join(","));
    for (field, item) in [
        ("ports", r#"{"containerPort":1,"hostPort":2}"#),
        ("dns", r#""x""#),
        ("volumes", r#"{"source":"data","target":"/data"}"#),
        ("command", "1"),
    ] {
        let text = format!(
            r#"{{"sessionId":"s1","image":"alpine","network":"default","{field}":{}}}"#,
            many(item)
        );
        assert_eq!(
            validate_config_json(&text).unwrap_err().violation_list().len(),
            1000,
            "{field}"
        );
    }
}

#[test]
fn whole_numbers_may_be_written_with_a_zero_fraction() {
    let text = r#"{"sessionId": "s1", "image": "alpine", "resources": {"memory": 64.0, "pids": 1e2}}"#;
    let config = validate_config_json(text).unwrap();
    assert_eq!((config.resources.memory, config.resources.pids), (64, 100));
}

#[test]
fn of_a_field_given_twice_the_last_one_counts() {
    let text = r#"{"sessionId": "s1", "image": "alpine", "image": "debian", "labels": {"a": "1", "a": "2"}}"#;
    let config = validate_config_json(text).unwrap();
    assert_eq!(
        (config.image.as_str(), config.labels["a"].as_str()),
        ("debian", "2")
    );
}

fn demanding() -> ContainerConfig {
    let security = SecurityOptions::default()
        .read_only(false)
        .user("root")
        .add_capability("cap_kill")
        .add_capability("KILL");
    ContainerConfig::new("s1", "alpine")
        .network("default")
        .port(PortMapping::tcp(80).host_port(0))
        .volume(VolumeMount::new("/srv", "/srv"))
        .dns("2001:DB8:0::1")
        .hostname("box")
        .security(security)
        .resources(driver_types::ResourceLimits::default().disk(9))
        .tty(true)
        .stdin(true)
}

#[test]
fn a_driver_that_can_do_nothing_refuses_each_field_that_is_not_default() {
    let config = validate_config(&demanding()).unwrap();
    let error = check_capabilities(&config, &Capabilities::none()).unwrap_err();
    let pointers: Vec<_> = error
        .violation_list()
        .iter()
        .map(|violation| violation.pointer.as_str())
        .collect();
    assert_eq!(
        pointers,
        [
            "/resources/disk",
            "/volumes/0",
            "/network",
            "/ports/0",
            "/hostname",
            "/dns",
            "/security/user",
            "/security/capabilities",
            "/stdin",
            "/tty",
        ]
    );
    insta::assert_snapshot!(
        error.violation_list()[0],
        @"/resources/disk: needs the capability `diskLimit`, which the driver lacks: not declared by the driver (leave the field out, or use a driver that has it)"
    );
    check_capabilities(&config, &Capabilities::all()).unwrap();
    let default = validate_config(&ContainerConfig::new("s1", "alpine")).unwrap();
    check_capabilities(&default, &Capabilities::none()).unwrap();
}

#[test]
fn a_plan_has_the_same_refusals() {
    let config = validate_config(&demanding()).unwrap();
    let capabilities = Capabilities::all()
        .with(Capability::Hostname, Support::none("no UTS namespace"))
        .with(Capability::DiskLimit, Support::emulated("measured"));
    let items = plan_items(&config, &capabilities);
    let not_native: Vec<_> = items
        .iter()
        .filter(|item| item.reason.is_some())
        .map(|item| format!("{} {}", item.pointer, item.support))
        .collect();
    assert_eq!(not_native, ["/resources/disk emulated", "/hostname none"]);
    let error = check_capabilities(&config, &capabilities).unwrap_err();
    assert_eq!(error.violation_list().len(), 1);
}

#[test]
fn a_validated_config_is_in_normal_form() {
    let config = validate_config(&demanding()).unwrap();
    assert_eq!(config.security.capabilities.add, ["KILL"]);
    assert_eq!(config.dns, ["2001:db8::1"]);
    assert_eq!(config.ports[0].host_port, None);
    assert_eq!(config.ports[0].host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(config.volumes[0].mount_type, Some(driver_types::MountType::Bind));
}

#[rstest]
#[case::cpu(Capacity { cpu: Some(2.0), ..Capacity::default() }, "Resource limit exceeded for cpu: requested 4, limit 2")]
#[case::memory(Capacity { memory: Some(1024), ..Capacity::default() }, "Resource limit exceeded for memory: requested 2048, limit 1024")]
#[case::disk(Capacity { disk: Some(1), ..Capacity::default() }, "Resource limit exceeded for disk: requested 1024, limit 1")]
#[case::pids(Capacity { pids: Some(99), ..Capacity::default() }, "Resource limit exceeded for pids: requested 100, limit 99")]
#[case::fits(Capacity { cpu: Some(4.0), memory: Some(2048), disk: Some(1024), pids: Some(100) }, "")]
#[case::unknown(Capacity::default(), "")]
fn requests_against_the_capacity(#[case] capacity: Capacity, #[case] message: &str) {
    let limits = driver_types::ResourceLimits::default().cpu(4.0).memory(2048);
    let result = check_capacity(&limits, &capacity);
    assert_eq!(
        result.err().map(|error| error.to_string()).unwrap_or_default(),
        message
    );
}

#[rstest]
#[case(f64::NAN)]
#[case(f64::INFINITY)]
#[case(f64::NEG_INFINITY)]
#[case(-1.0)]
#[case(0.0)]
#[case(0.009)]
#[case(65_537.0)]
fn cores_that_are_refused(#[case] cpu: f64) {
    let mut config = ContainerConfig::new("s1", "alpine");
    config.resources.cpu = cpu;
    let error = validate_config(&config).unwrap_err();
    assert_eq!(error.violation_list()[0].pointer, "/resources/cpu");
}
