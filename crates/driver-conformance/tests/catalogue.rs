//! The suite as a whole: its cases, the rules they cite, and the documents that name them.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use driver_conformance::{cases, coverage_table, rules};

fn workspace_file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
fn there_are_at_least_250_cases_with_ids_of_their_own() {
    let cases = cases();
    let ids: BTreeSet<_> = cases.iter().map(|case| case.id()).collect();
    assert_eq!(ids.len(), cases.len(), "two cases have the same id");
    assert!(ids.len() >= 250, "{} cases", ids.len());
    for id in ids {
        let (group, name) = id.split_once("::").unwrap();
        let plain =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        assert!(
            plain(group) && plain(name),
            "{id} is not `group::name` in plain letters"
        );
    }
}

#[test]
fn every_rule_has_a_case_and_every_cited_rule_exists() {
    let known: BTreeSet<_> = rules().map(|rule| rule.id).collect();
    assert_eq!(known.len(), rules().count(), "two rules have the same id");
    let mut cited: BTreeMap<&str, usize> = BTreeMap::new();
    let cases = cases();
    for case in &cases {
        assert!(!case.rules().is_empty(), "{} proves no rule", case.id());
        for rule in case.rules() {
            assert!(
                known.contains(rule),
                "{} cites `{rule}`, which is no rule",
                case.id()
            );
            *cited.entry(rule).or_default() += 1;
        }
    }
    let unproven: Vec<_> = known.iter().filter(|rule| !cited.contains_key(**rule)).collect();
    assert!(unproven.is_empty(), "rules without a case: {unproven:?}");
}

#[test]
fn every_case_that_the_trait_names_exists() {
    let source = fs::read_to_string(workspace_file("crates/driver-types/src/driver.rs")).unwrap();
    let cases = cases();
    let mut named = 0;
    for quoted in source.split('`').skip(1).step_by(2) {
        let Some((group, name)) = quoted.split_once("::") else {
            continue;
        };
        let is_case = group.chars().all(|c| c.is_ascii_lowercase() || c == '_') && group != "clippy";
        if !is_case || !source.contains(&format!("`{quoted}`")) {
            continue;
        }
        named += 1;
        let prefix = name.strip_suffix('*');
        let exists = cases.iter().any(|case| match prefix {
            Some(prefix) => case.id().starts_with(&format!("{group}::{prefix}")),
            None => case.id() == quoted,
        });
        assert!(exists, "the trait names `{quoted}`, and there is no such case");
    }
    assert!(
        named > 100,
        "only {named} cases are named: has the form of the documentation changed?"
    );
}

#[test]
fn the_coverage_document_is_current() {
    let file = workspace_file("docs/contract-coverage.md");
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == coverage_table(&cases()),
        "docs/contract-coverage.md is stale: run `cargo xtask schema`"
    );
}
