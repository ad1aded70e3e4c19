//! The report for programs.

use super::Report;

pub(super) fn render(report: &Report) -> String {
    // Serialising plain structs with string keys cannot fail.
    let text = serde_json::to_string_pretty(report).unwrap_or_default();
    text + "\n"
}
