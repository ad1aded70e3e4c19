//! The crate graph: who may depend on whom (docs/ARCHITECTURE.md holds the same table for people).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::run::{Result, cargo, output};

/// What each crate may depend on in this workspace, dev-dependencies aside.
const ALLOWED: &[(&str, &[&str])] = &[
    ("driver-errors", &[]),
    ("driver-types", &["driver-errors"]),
    ("driver-validation", &["driver-errors", "driver-types"]),
    ("driver-state", &["driver-errors", "driver-types"]),
    (
        "driver-mock",
        &[
            "driver-errors",
            "driver-types",
            "driver-validation",
            "driver-state",
        ],
    ),
    (
        "driver-docker",
        &[
            "driver-errors",
            "driver-types",
            "driver-validation",
            "driver-exec-guard",
            "driver-static-build",
        ],
    ),
    (
        "driver-local",
        &[
            "driver-errors",
            "driver-types",
            "driver-validation",
            "driver-state",
            "driver-exec-guard",
            "driver-local-shim",
            "driver-static-build",
        ],
    ),
    ("driver-local-shim", &["driver-exec-guard"]),
    ("driver-static-build", &[]),
    // For its feature `client`; the program has none.
    ("driver-exec-guard", &["driver-types"]),
    ("driver-conformance", &["driver-errors", "driver-types"]),
    (
        "driver-cli",
        &[
            "driver-errors",
            "driver-types",
            "driver-validation",
            "driver-mock",
            "driver-docker",
            "driver-local",
        ],
    ),
    ("third-party-driver", &["driver-types"]),
    ("xtask", &[]),
];

/// Nothing may depend on these.
const LEAVES: [&str; 2] = ["driver-cli", "xtask"];

pub(super) fn check() -> Result<Vec<String>> {
    let metadata: Value = serde_json::from_str(&output(&mut cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ]))?)?;
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may) = allowed.get(name) else {
            problems.push(format!(
                "crate {name} is not in the table of xtask/src/tidy/graph.rs and docs/ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"] == "dev";
            if LEAVES.contains(&other) || (!is_dev && allowed.contains_key(other) && !may.contains(&other)) {
                problems.push(format!(
                    "crate {name} must not depend on {other}: see docs/ARCHITECTURE.md"
                ));
            }
        }
    }
    Ok(problems)
}
