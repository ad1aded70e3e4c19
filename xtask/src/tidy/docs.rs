//! Documents: those that must exist, and links between them.

use std::fs;
use std::path::Path;

use crate::run::{Result, root};

/// The documents that the README promises.
const REQUIRED: [&str; 12] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs/ARCHITECTURE.md",
    "docs/INTERFACE_CONTRACT.md",
    "docs/IMPLEMENTATION_GUIDE.md",
    "docs/PACKAGE_STRUCTURE.md",
    "docs/USAGE_PATTERNS.md",
    "docs/ERROR_HANDLING.md",
    "docs/compatibility.md",
    "docs/TESTING.md",
];

pub(super) fn check(files: &[String]) -> Result<Vec<String>> {
    let mut problems: Vec<_> = REQUIRED
        .iter()
        .filter(|path| !root().join(path).is_file())
        .map(|path| format!("{path} is missing"))
        .collect();
    for path in files.iter().filter(|path| path.ends_with(".md")) {
        let text = fs::read_to_string(root().join(path))?;
        problems.extend(broken_links(path, &text));
    }
    Ok(problems)
}

/// Links to files of the checkout that do not exist.
fn broken_links(path: &str, text: &str) -> Vec<String> {
    let directory = root()
        .join(path)
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default();
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#', ' ']).next())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .filter(|target| !directory.join(target).exists())
        .map(|target| format!("{path} links to {target}, which does not exist"))
        .collect()
}
