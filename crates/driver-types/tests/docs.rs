//! `docs/ERROR_HANDLING.md` agrees with the code. Its Rust examples are doc tests of the library.

#![allow(clippy::unwrap_used)]

use driver_types::{DriverError, ErrorKind};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/ERROR_HANDLING.md");

#[test]
fn the_table_of_codes_has_every_kind_with_its_group_and_retry_flag() {
    let is_code = |cell: &str| cell.bytes().all(|byte| matches!(byte, b'`' | b'_' | b'A'..=b'Z'));
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.len() == 4 && is_code(cells[0]))
        .collect();
    assert_eq!(rows.len(), ErrorKind::TABLE.len(), "one row for each kind");
    for (row, info) in rows.iter().zip(ErrorKind::TABLE) {
        let retry = if info.retryable { "yes" } else { "no" };
        assert_eq!(row[..3], [&format!("`{}`", info.code), info.group.name(), retry]);
        assert!(row[3].ends_with('.'), "{}: says what to do", info.code);
    }
}

#[test]
fn the_errors_in_json_are_what_the_code_writes() {
    let blocks: Vec<&str> = PAGE
        .split("```json\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let wire: Value = serde_json::from_str(block).unwrap();
        let error: DriverError = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(error.code(), wire["code"]);
        assert_eq!(serde_json::to_value(&error).unwrap(), wire);
    }
}
