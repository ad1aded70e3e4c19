//! `conformance-coverage`: writes `docs/contract-coverage.md`.

use std::path::Path;
use std::process::ExitCode;

use driver_conformance::{cases, coverage_table};

fn main() -> ExitCode {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract-coverage.md");
    match std::fs::write(&file, coverage_table(&cases())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-coverage: {}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}
