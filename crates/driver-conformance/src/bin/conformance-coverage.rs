//! `conformance-coverage FILE [--check]`: writes the table from the contract's rules to the cases that prove them.

use std::process::ExitCode;

use clap::Parser;
use driver_conformance::{cases, coverage_table};

/// Writes which cases prove which rule of the contract.
#[derive(Debug, Parser)]
struct Arguments {
    /// The Markdown file
    file: std::path::PathBuf,
    /// Change nothing; fail when the file is out of date
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let Arguments { file, check } = Arguments::parse();
    let table = coverage_table(&cases());
    let result = match check {
        false => std::fs::write(&file, table).map_err(|error| error.to_string()),
        true if std::fs::read_to_string(&file).is_ok_and(|written| written == table) => Ok(()),
        true => Err("out of date; run `cargo xtask schema`".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-coverage: {}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}
