//! Properties of validation, over generated configs and mutated documents.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use driver_types::{
    ContainerConfig, Env, HealthCheckConfig, Labels, LinuxCapabilities, MountType, PortMapping, PortProtocol,
    PullPolicy, ResourceLimits, SeccompProfile, SecurityOptions, Signal, TmpfsMount, VolumeMount,
};
use driver_validation::{
    Form, ValidatedConfig, matches_config_schema, sanitize_hostname, sanitize_labels, sanitize_name,
    sanitize_path, schemas, validate_config, validate_config_json, validate_config_value, validate_path,
};
use proptest::prelude::*;
use proptest::{option, sample};
use serde_json::{Value, json};

/// Texts that some rule is about, and any other text.
fn text() -> impl Strategy<Value = String> {
    let known = [
        "",
        "a",
        "ab",
        "s1",
        "session-1",
        ".x",
        "-x",
        "a b",
        "alpine",
        "alpine:3.20",
        "Alpine",
        "a//b",
        "ghcr.io/a/b@sha256:0",
        "none",
        "host",
        "default",
        "net1",
        "/",
        "/data",
        "/data/",
        "/data/../x",
        "//",
        "/proc",
        "/proc/1",
        "/process",
        "/dev/shm",
        "relative",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "300.1.1.1",
        "localhost",
        "root",
        "1000:1000",
        "4294967296",
        "a:b:c",
        "ALL",
        "CAP_KILL",
        "kill",
        "FLY",
        "CMD",
        "CMD-SHELL",
        "NONE",
        "A",
        "A_1",
        "1A",
        "openagent.x",
        "x\0y",
        "größe",
    ];
    prop_oneof![
        8 => sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[a-z0-9]{1,8}",
        1 => any::<String>(),
        1 => (prop_oneof![Just("a"), Just("/"), Just("é")], 120..300_usize).prop_map(|(unit, count)| unit.repeat(count)),
    ]
}

/// Mostly one of these, so that whole configs are valid often enough.
fn mostly(good: &[&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![6 => sample::select(good.to_vec()).prop_map(str::to_owned), 1 => text()]
}

fn name() -> impl Strategy<Value = String> {
    mostly(&["s1", "a", "net1", "session-1"])
}

fn path() -> impl Strategy<Value = String> {
    mostly(&["/data", "/process", "/a/b", "/tmp"])
}

fn address() -> impl Strategy<Value = String> {
    mostly(&["127.0.0.1", "::1", "0.0.0.0", "2001:DB8::1"])
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 100..1000_u64,
        1 => 0..12_u64,
        1 => Just(100),
        1 => Just(8_796_093_022_207),
        1 => Just(8_796_093_022_208),
         1 => any::<u64>()
    ]
}

prop_compose! {
    fn resources()(
        cpu in prop_oneof![Just(0.5), Just(0.0), Just(0.01), Just(65_536.0), 0.01..100.0_f64, Just(f64::NAN), any::<f64>()],
        memory in number(), disk in number(), pids in number(),
    ) -> ResourceLimits {
        ResourceLimits { cpu, memory, disk, pids }
    }
}

prop_compose! {
    fn volume()(source in mostly(&["/srv", "data"]), target in path(), read_only: bool, kind in option::of(sample::select(vec![MountType::Bind, MountType::Volume]))) -> VolumeMount {
        VolumeMount { source, target, read_only, mount_type: kind }
    }
}

prop_compose! {
    fn port()(
        container_port: u16, host_port in option::of(prop_oneof![0..3_u16, any::<u16>()]), host_ip in option::of(address()),
        protocol in option::of(sample::select(vec![PortProtocol::Tcp, PortProtocol::Udp])),
    ) -> PortMapping {
        PortMapping { container_port, host_port, host_ip, protocol }
    }
}

prop_compose! {
    fn security()(
        read_only: bool, no_new_privileges: bool, user in mostly(&["root", "1000:1000"]), drop in capabilities(), add in capabilities(),
        seccomp in sample::select(vec![SeccompProfile::Default, SeccompProfile::Unconfined]),
    ) -> SecurityOptions {
        SecurityOptions { read_only, no_new_privileges, user, capabilities: LinuxCapabilities { drop, add }, seccomp }
    }
}

prop_compose! {
    fn healthcheck()(
        test in prop_oneof![3 => Just(vec!["CMD".to_owned(), "x".to_owned()]), 1 => texts()], interval_ms in number(), timeout_ms in number(), retries in 0..1002_u32, start_period_ms in number(),
    ) -> HealthCheckConfig {
        HealthCheckConfig { test, interval_ms, timeout_ms, retries, start_period_ms }
    }
}

fn capabilities() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(mostly(&["ALL", "CAP_KILL", "kill", "Net_Admin"]), 0..4)
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..3)
}

fn pairs() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(text(), text(), 0..3)
}

/// One change of one field.
#[derive(Clone)]
struct Change(Arc<dyn Fn(&mut ContainerConfig)>);

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change")
    }
}

fn change() -> impl Strategy<Value = Change> {
    macro_rules! set {
        ($field:ident, $strategy:expr) => {
            $strategy
                .prop_map(|value| Change(Arc::new(move |config| config.$field = value.clone())))
                .boxed()
        };
    }
    prop::strategy::Union::new([
        set!(session_id, name()),
        set!(image, mostly(&["alpine", "ghcr.io/a/b:1"])),
        set!(name, option::of(name())),
        set!(request_id, option::of(name())),
        set!(entrypoint, option::of(texts())),
        set!(command, option::of(texts())),
        set!(working_dir, option::of(path())),
        set!(
            env,
            prop::collection::btree_map(mostly(&["A", "B_2"]), text(), 0..3).prop_map(Env)
        ),
        set!(labels, pairs()),
        set!(resources, resources()),
        set!(volumes, prop::collection::vec(volume(), 0..3)),
        set!(
            tmpfs,
            option::of(prop::collection::vec(
                (path(), number()).prop_map(|(target, size_mib)| TmpfsMount { target, size_mib }),
                0..3
            ))
        ),
        set!(ports, prop::collection::vec(port(), 0..3)),
        set!(network, mostly(&["none", "host", "default", "net1"])),
        set!(hostname, option::of(mostly(&["a", "box-1"]))),
        set!(dns, prop::collection::vec(address(), 0..3)),
        set!(
            extra_hosts,
            prop::collection::btree_map(mostly(&["db", "db.internal"]), address(), 0..3)
        ),
        set!(security, security()),
        set!(healthcheck, option::of(healthcheck())),
        set!(init, any::<bool>()),
        set!(tty, any::<bool>()),
        set!(
            stop_signal,
            option::of((1..=64).prop_map(|number| Signal::from_number(number).unwrap()))
        ),
        set!(
            pull_policy,
            sample::select(vec![PullPolicy::Never, PullPolicy::Missing, PullPolicy::Always])
        ),
    ])
}

/// A valid config with up to three fields changed, to good or bad values.
fn config() -> impl Strategy<Value = ContainerConfig> {
    prop::collection::vec(change(), 0..4)
        .prop_map(|changes| {
            let mut config = ContainerConfig::new("s1", "alpine");
            changes.iter().for_each(|change| (change.0)(&mut config));
            config
        })
        .no_shrink()
}

/// JSON that breaks expectations: whole numbers with fractions, null, arrays for objects, objects for choices.
fn odd_json() -> impl Strategy<Value = Value> {
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.0),
        json!(100.0),
        json!(1.5),
        json!(-0.0),
        json!(1e300),
        json!(""),
        json!("never"),
        json!({"never": null}),
        json!([0.5, 512, 1024, 100]),
        json!({}),
        json!([]),
        json!(["ALL"]),
        json!([null]),
        json!({"cpu": 1}),
        json!("SIGTERM"),
        json!("sigterm"),
        json!("SIG15"),
        json!("15"),
        json!("+15"),
        json!(15),
        json!("1000"),
        json!({"test": ["NONE"]}),
        json!(["CMD", "x"]),
        json!([["data", "/data", false]]),
        json!({"A": null}),
    ];
    prop_oneof![sample::select(odd.to_vec()), text().prop_map(Value::from)]
}

/// A document with some of its values replaced, removed or added.
fn document() -> impl Strategy<Value = Value> {
    let base: Vec<Value> = config_schema()["examples"].as_array().unwrap().clone();
    let places = prop::collection::vec((any::<sample::Index>(), 0..5_u8, odd_json(), text()), 0..3);
    (sample::select(base), places).prop_map(|(mut document, changes)| {
        for (index, how, value, name) in changes {
            let mut pointers = vec![String::new()];
            collect_pointers(&document, "", &mut pointers);
            let pointer = index.get(&pointers).clone();
            match (how, document.pointer_mut(&pointer)) {
                (0, Some(Value::Object(members))) => drop(members.insert(name, value)),
                (1, Some(Value::Object(members))) => {
                    let first = members.keys().next().cloned();
                    first.and_then(|first| members.remove(&first));
                }
                (2, Some(place)) => respell(place),
                (_, Some(place)) => *place = value,
                (_, None) => unreachable!("collected above"),
            }
        }
        document
    })
}

/// The same content in a form that a lenient reader would take.
fn respell(value: &mut Value) {
    *value = match value.take() {
        Value::Number(number) => json!(number.as_f64()),
        Value::Object(members) => members.into_iter().map(|(_, member)| member).collect(),
        Value::String(text) => json!({ text: null }),
        Value::Array(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        other => json!([other]),
    };
}

fn collect_pointers(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let mut visit = |name: &str, member: &Value| {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        pointers.push(pointer.clone());
        collect_pointers(member, &pointer, pointers);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| visit(name, member)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| visit(&index.to_string(), item)),
        _ => {}
    }
}

fn config_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let is_config = |schema: &driver_validation::NamedSchema| {
            schema.name == "ContainerConfig" && schema.form == Form::Input
        };
        schemas().into_iter().find(is_config).unwrap().schema
    });
    &SCHEMA
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// So the direct way from text to type need not look at the schema.
    #[test]
    fn what_passes_the_rules_passes_the_schema(config in config()) {
        if validate_config(&config).is_ok() {
            let value = serde_json::to_value(&config).unwrap();
            prop_assert!(matches_config_schema(&value), "{value}");
        }
    }

    #[test]
    fn a_valid_config_stays_valid_over_the_wire(config in config()) {
        if let Ok(valid) = validate_config(&config) {
            let text = serde_json::to_string(&config).unwrap();
            prop_assert_eq!(&validate_config_json(&text).unwrap(), &valid);
            let again = serde_json::to_string(&*valid).unwrap();
            prop_assert_eq!(&validate_config_json(&again).unwrap(), &valid, "the normal form is a fixed point");
        }
    }

    #[test]
    fn both_ways_of_reading_agree(document in document()) {
        let by_value = validate_config_value(&document);
        prop_assert_eq!(&validate_config_json(&document.to_string()), &by_value);
        if by_value.is_ok() {
            prop_assert!(matches_config_schema(&document));
        } else {
            prop_assert!(!by_value.unwrap_err().violation_list().is_empty());
        }
    }

    /// The rules must not be the ones that find a broken shape: each rule that both know is told once.
    #[test]
    fn typed_and_json_violations_agree(config in config()) {
        prop_assume!(config.resources.cpu.is_finite());
        let typed = validate_config(&config);
        let value = serde_json::to_value(&config).unwrap();
        prop_assert_eq!(typed.is_ok(), validate_config_value(&value).is_ok());
        if let (Err(typed), Err(json)) = (typed, validate_config_value(&value)) {
            for violation in typed.violation_list() {
                let at = violation.pointer.as_str();
                let covers = |other: &str| at.starts_with(other) || other.starts_with(at);
                prop_assert!(json.violation_list().iter().any(|other| covers(&other.pointer)), "{at} is lost in {json}");
            }
        }
    }

    #[test]
    fn broken_text_is_refused_and_never_panics(document in document(), at: sample::Index, byte in "[\\[\\]{}\":,0-9a-z\\\\ é]") {
        let mut text = document.to_string();
        let boundaries: Vec<_> = text.char_indices().map(|(index, _)| index).collect();
        text.insert_str(*at.get(&boundaries), &byte);
        let parsed: Result<Value, _> = serde_json::from_str(&text);
        let result = validate_config_json(&text);
        match parsed {
            Ok(value) => prop_assert_eq!(result, validate_config_value(&value)),
            Err(_) => prop_assert!(result.is_err()),
        }
    }

    #[test]
    fn any_text_is_answered(text: String) {
        drop(validate_config_json(&text));
        drop(text.parse::<driver_validation::ImageReference>());
    }

    #[test]
    fn references_in_normal_form_are_fixed_points(text in "([a-z.:0-9]{1,6}/)?[a-z0-9._-]{1,6}(/[a-z0-9_]{1,4})?(:[A-Za-z0-9._-]{1,4})?") {
        if let Ok(image) = text.parse::<driver_validation::ImageReference>() {
            let normalized = image.normalized();
            let again: driver_validation::ImageReference = normalized.parse().unwrap();
            prop_assert_eq!(again.normalized(), normalized);
        }
    }

    #[test]
    fn sanitised_texts_are_valid(text in text(), labels in pairs()) {
        let mut config = ContainerConfig::new(sanitize_name(&text), "alpine").name(sanitize_name(&text));
        config.hostname = Some(sanitize_hostname(&text));
        config.labels = sanitize_labels(&labels);
        let target = sanitize_path(&format!("/mnt/{}", text.replace("..", "")));
        config.tmpfs = Some(vec![TmpfsMount { target: target.clone(), size_mib: 1 }]);
        prop_assert_eq!(ValidatedConfig::new(config.clone()).map(ValidatedConfig::into_inner), Ok(config));
        prop_assert!(validate_path(&sanitize_path(&text)).is_ok());
        prop_assert_eq!(sanitize_path(&target), target);
        prop_assert_eq!(sanitize_name(&sanitize_name(&text)), sanitize_name(&text));
    }
}
