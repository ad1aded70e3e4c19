//! `cargo xtask schema`: the files that are generated from the code: JSON Schemas, their fixtures, tables in the docs.

use std::process::Command;

use clap::Args;

use crate::run::{Result, build, root, run};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when a file is out of date
    #[arg(long)]
    check: bool,
}

/// The programs that generate, as kind of target, target and what they generate.
const GENERATORS: [[&str; 3]; 4] = [
    ["--example", "contract-docs", "docs/INTERFACE_CONTRACT.md"],
    ["--bin", "conformance-coverage", "docs/contract-coverage.md"],
    ["--bin", "export-schemas", "schemas"],
    ["--bin", "export-fixtures", "examples/fixtures/generated"],
];

pub(crate) fn main(arguments: &Arguments) -> Result {
    generate(arguments.check)
}

/// Writes the files, or checks that they are up to date.
pub(crate) fn generate(only_check: bool) -> Result {
    let programs = build(GENERATORS.iter().flat_map(|[kind, target, _]| [*kind, *target]))?;
    for [_, target, output] in GENERATORS {
        let program = programs.iter().find(|program| program.name == target);
        let program = program.ok_or_else(|| format!("cargo has not built {target}"))?;
        let mut command = Command::new(&program.executable);
        command.arg(output).current_dir(root());
        if only_check {
            command.arg("--check");
        }
        run(&mut command)?;
    }
    Ok(())
}
