//! `cargo xtask schema`: the files that are generated from the code: JSON Schemas, their fixtures, tables in the docs.

use clap::Args;

use crate::run::{Result, cargo, run};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when a file is out of date
    #[arg(long)]
    check: bool,
}

/// The programs that generate, as package, kind of target, target and what they generate.
const GENERATORS: &[[&str; 4]] = &[
    [
        "driver-types",
        "--example",
        "contract-docs",
        "docs/INTERFACE_CONTRACT.md",
    ],
    [
        "driver-conformance",
        "--bin",
        "conformance-coverage",
        "docs/contract-coverage.md",
    ],
    ["driver-validation", "--bin", "export-schemas", "schemas"],
    [
        "driver-validation",
        "--bin",
        "export-fixtures",
        "examples/fixtures/generated",
    ],
];

pub(crate) fn main(arguments: &Arguments) -> Result {
    generate(arguments.check)
}

/// Writes the files, or checks that they are up to date.
pub(crate) fn generate(only_check: bool) -> Result {
    for [package, kind, target, output] in GENERATORS {
        let mut command = cargo(["run", "--quiet", "--package", package, kind, target, "--", output]);
        if only_check {
            command.arg("--check");
        }
        run(&mut command)?;
    }
    Ok(())
}
