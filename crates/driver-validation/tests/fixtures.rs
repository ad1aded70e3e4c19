//! The fixtures that the TypeScript and Python examples check as well: all three must agree.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use driver_types::{
    ContainerConfig, ContainerFilter, EventFilter, ExecSpec, ImportOptions, LogOptions, NetworkConfig,
    PullRequest, ReapPolicy, RemoveOptions, ResourceLimits, Result, SecurityOptions, StopOptions,
    VolumeConfig,
};
use driver_validation::{Input, schemas, validate_config_json, validate_json, validate_value};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    schema: Option<String>,
    schema_valid: bool,
    valid: Option<bool>,
    #[serde(default)]
    pointers: Vec<String>,
    instance: Value,
}

#[derive(Deserialize)]
struct File {
    schema: Option<String>,
    cases: Vec<Case>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fixtures")
}

/// Every case with the file name of its schema.
fn cases() -> Vec<(String, Case)> {
    let generated = fs::read_dir(directory().join("generated"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = generated.chain([directory().join("rules.json")]).collect();
    paths.sort();
    let files = paths
        .iter()
        .map(|path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap());
    files
        .flat_map(|file: File| {
            let schema = file.schema;
            file.cases
                .into_iter()
                .map(move |case| (case.schema.clone().or(schema.clone()).unwrap(), case))
        })
        .collect()
}

fn check<T: Input>(value: &Value) -> Result<()> {
    let by_value = validate_value::<T>(value).map(drop);
    assert_eq!(validate_json::<T>(&value.to_string()).map(drop), by_value);
    by_value
}

fn check_config(value: &Value) -> Result<()> {
    let by_value = check::<ContainerConfig>(value);
    // The direct way from text to the type must come to the same.
    assert_eq!(validate_config_json(&value.to_string()).map(drop), by_value);
    by_value
}

/// The validation of an input type by the file name of its schema.
fn validation(schema: &str) -> Option<fn(&Value) -> Result<()>> {
    Some(match schema.strip_suffix(".input.schema.json")? {
        "container-config" => check_config,
        "resource-limits" => check::<ResourceLimits>,
        "security-options" => check::<SecurityOptions>,
        "volume-config" => check::<VolumeConfig>,
        "network-config" => check::<NetworkConfig>,
        "exec-spec" => check::<ExecSpec>,
        "log-options" => check::<LogOptions>,
        "stop-options" => check::<StopOptions>,
        "remove-options" => check::<RemoveOptions>,
        "container-filter" => check::<ContainerFilter>,
        "event-filter" => check::<EventFilter>,
        "pull-request" => check::<PullRequest>,
        "import-options" => check::<ImportOptions>,
        "reap-policy" => check::<ReapPolicy>,
        _ => return None,
    })
}

#[test]
fn the_schema_verdicts_are_as_expected() {
    let validators: BTreeMap<_, _> = schemas()
        .into_iter()
        .map(|schema| {
            (
                schema.file_name(),
                jsonschema::draft202012::new(&schema.schema).unwrap(),
            )
        })
        .collect();
    let cases = cases();
    assert!(cases.len() >= 60);
    for (schema, case) in &cases {
        assert_eq!(
            validators[schema].is_valid(&case.instance),
            case.schema_valid,
            "{schema}: {}",
            case.name
        );
    }
}

#[test]
fn validation_comes_to_the_expected_verdicts() {
    let mut inputs = 0;
    for (schema, case) in cases() {
        let Some(validate) = validation(&schema) else {
            continue;
        };
        inputs += 1;
        let valid = case.valid.unwrap_or(case.schema_valid);
        match validate(&case.instance) {
            Ok(()) => assert!(valid, "{schema}: {} is accepted", case.name),
            Err(error) => {
                assert!(!valid, "{schema}: {}: {error}", case.name);
                let found: Vec<_> = error
                    .violation_list()
                    .iter()
                    .map(|violation| &violation.pointer)
                    .collect();
                for pointer in &case.pointers {
                    assert!(
                        found.contains(&pointer),
                        "{schema}: {}: {pointer} is not in {found:?}",
                        case.name
                    );
                }
                assert!(
                    case.pointers.is_empty() || found.len() == case.pointers.len(),
                    "{}: {found:?}",
                    case.name
                );
            }
        }
    }
    assert!(inputs > 200);
}

/// The pointer in the name of a generated case.
fn generated_at(case: &Case) -> Option<&str> {
    case.name
        .starts_with("example ")
        .then(|| case.name.split_once(" at "))
        .flatten()
        .map(|(_, at)| at)
        .filter(|at| at.starts_with('/'))
}

#[test]
fn a_violation_points_at_what_was_changed() {
    for (schema, case) in cases() {
        let (Some(validate), Some(at)) = (validation(&schema), generated_at(&case)) else {
            continue;
        };
        let Err(error) = validate(&case.instance) else {
            continue;
        };
        let near = error
            .violation_list()
            .iter()
            .any(|violation| violation.pointer.starts_with(at));
        assert!(near, "{schema}: {}: {error}", case.name);
    }
}
