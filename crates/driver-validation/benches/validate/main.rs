//! How long validation takes, and how long against node's: `cargo bench -p driver-validation --bench validate`.
//!
//! First the parts by criterion, then the table against node. Exit code 1: a figure is missed, or node cannot be run.

mod against_node;
mod parts;

use std::process::ExitCode;

use criterion::Criterion;

/// A config of about 1 KB that uses most fields.
const DOCUMENT: &str = include_str!("../document.json");

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    parts::run(&mut criterion);
    criterion.final_summary();
    // Without `--bench` it is a test run: there is nothing to compare.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match against_node::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("against node: {error}");
            ExitCode::FAILURE
        }
    }
}
