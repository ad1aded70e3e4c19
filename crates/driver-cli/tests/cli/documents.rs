//! `validate` and `schema`: what needs no driver.

use std::fs;

use driver_types::Violation;
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Ran, driver, ran, run};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    valid: bool,
    violations: Vec<Violation>,
}

fn validate(document: &str, flags: &[&str]) -> Ran {
    let mut command = driver();
    command
        .args(flags)
        .args(["validate", "-"])
        .write_stdin(document.to_owned());
    ran(&mut command)
}

fn verdict(document: &Value) -> (i32, Verdict) {
    let ran = validate(&document.to_string(), &["--format", "json"]);
    (
        ran.code,
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}")),
    )
}

#[test]
fn a_good_config_is_exit_code_0() {
    let (code, verdict) = verdict(&json!({"sessionId": "s", "image": "alpine"}));
    assert_eq!(
        (code, verdict),
        (
            0,
            Verdict {
                valid: true,
                violations: Vec::new()
            }
        )
    );
}

#[rstest]
#[case(json!({}), &["/image", "/sessionId"])]
#[case(json!({"sessionId": "s", "image": "alpine", "resources": {"memory": 3, "cpu": 0}}), &["/resources/cpu", "/resources/memory"])]
#[case(json!({"sessionId": "s", "image": "alpine", "workDir": "/"}), &["/workDir"])]
#[case(json!({"sessionId": "s", "image": "alpine", "workingDir": "x", "env": {"1A": "v"}}), &["/env/1A", "/workingDir"])]
#[case(json!([1]), &[""])]
fn a_bad_config_is_exit_code_1_with_every_violation(#[case] document: Value, #[case] pointers: &[&str]) {
    let (code, verdict) = verdict(&document);
    assert_eq!((code, verdict.valid), (1, false));
    let found: Vec<_> = verdict
        .violations
        .iter()
        .map(|violation| violation.pointer.as_str())
        .collect();
    assert_eq!(found, pointers, "{verdict:?}");
}

#[test]
fn the_table_names_field_and_way_out() {
    let ran = validate(
        r#"{"sessionId": "s", "image": "alpine", "resources": {"memory": 3}}"#,
        &[],
    );
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn values_of_the_environment_are_in_no_verdict() {
    let ran = validate(
        r#"{"sessionId": "s", "image": "alpine", "env": {"A": ["hunter2"], "1": "hunter2"}}"#,
        &[],
    );
    assert_eq!(ran.code, 1);
    assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
}

#[test]
fn text_that_is_not_json_is_a_violation_of_the_document() {
    let ran = validate("{", &["--format", "json"]);
    let verdict: Verdict = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, verdict.valid), (1, false));
    assert_eq!(verdict.violations[0].pointer, "");
}

#[test]
fn files_are_read_and_other_types_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spec.json");
    fs::write(&path, r#"{"command": ["ls"], "timeoutMs": 0}"#).unwrap();
    let path = path.to_str().unwrap();
    let ran = run(&["validate", "--type", "ExecSpec", path]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("/timeoutMs"), "{}", ran.stdout);

    let missing = run(&["--format", "json", "validate", "/no/such/file"]);
    assert_eq!((missing.code, missing.error().code()), (1, "FILE_SYSTEM_ERROR"));
}

#[test]
fn schemas_are_those_that_are_published() {
    let names = run(&["schema"]).stdout;
    assert!(names.lines().any(|name| name == "ContainerConfig"), "{names}");
    for (form, file) in [
        ("input", "container-config.input"),
        ("output", "container-config.output"),
    ] {
        let printed: Value =
            serde_json::from_str(&run(&["schema", "--form", form, "ContainerConfig"]).stdout).unwrap();
        let path = format!("{}/../../schemas/{file}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let published: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(printed, published);
    }
}
