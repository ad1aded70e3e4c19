//! Source files: size, door line, ignored tests, white space.

use std::fs;

use crate::run::{Result, root};

/// Lines of a source file, its tests aside, beyond which it must be split along a concept.
const MOST_LINES: usize = 600;

pub(super) fn check(files: &[String]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in files {
        let Ok(text) = fs::read_to_string(root().join(path)) else {
            continue;
        };
        if path.ends_with(".rs") {
            problems.extend(check_rust(path, &text));
        }
        if path.ends_with(".rs") || path.ends_with(".md") || path.ends_with(".toml") {
            problems.extend(check_white_space(path, &text));
        }
    }
    Ok(problems)
}

fn check_rust(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let first = text
        .lines()
        .find(|line| !line.starts_with("#!"))
        .unwrap_or_default();
    if !first.starts_with("//!") {
        problems.push(format!(
            "{path} does not begin with a `//!` line that says what it is"
        ));
    }
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .count();
    if !is_test && lines > MOST_LINES {
        problems.push(format!(
            "{path} has {lines} lines; split it along a concept (at most {MOST_LINES})"
        ));
    }
    // Written apart so that this line does not find itself.
    if text.contains(concat!("#[ign", "ore")) {
        problems.push(format!(
            "{path} has an ignored test; make it run, or skip with a printed reason"
        ));
    }
    problems
}

fn check_white_space(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(number) = text.lines().position(|line| line.ends_with([' ', '\t'])) {
        problems.push(format!("{path}:{} ends with white space", number + 1));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push(format!("{path} does not end with a line break"));
    }
    problems
}
