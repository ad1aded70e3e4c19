//! Writes the generated fixtures into a directory, or checks that they are there and up to date.
//!
//! `export-fixtures [--check] DIRECTORY`: one file a schema, with its examples, which must fit, and mutants of them,
//! most of which must not. Nothing is random. Exit code 1: `--check` found a difference; 2: usage.

mod mutate;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use driver_validation::NamedSchema;
use mutate::mutants;
use serde_json::{Value, json};

const FIX: &str = "cargo run -p driver-validation --bin export-fixtures -- examples/fixtures/generated";

fn main() -> ExitCode {
    let (options, directories): (Vec<_>, Vec<_>) = env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let check = options == ["--check"];
    let ([directory], true) = (directories.as_slice(), check || options.is_empty()) else {
        eprintln!("usage: export-fixtures [--check] DIRECTORY");
        return ExitCode::from(2);
    };
    let directory = Path::new(directory);
    let result = if check {
        is_current(directory)
    } else {
        write(directory).map(|()| true)
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("the fixtures are out of date; run: {FIX}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{}: {error}; run: {FIX}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, content) in files() {
        fs::write(directory.join(name), content)?;
    }
    Ok(())
}

fn is_current(directory: &Path) -> io::Result<bool> {
    for (name, content) in files() {
        if fs::read_to_string(directory.join(name))? != content {
            return Ok(false);
        }
    }
    Ok(true)
}

fn files() -> BTreeMap<String, String> {
    let file = |schema: &NamedSchema| {
        (
            schema.file_name().replace(".schema.json", ".json"),
            fixture_file(schema),
        )
    };
    driver_validation::schemas().iter().map(file).collect()
}

/// `{"schema": ..., "cases": [{"name", "schemaValid", "instance"}]}`, a line a case.
fn fixture_file(schema: &NamedSchema) -> String {
    let examples = schema.schema["examples"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut cases = Vec::new();
    for (index, example) in examples.iter().enumerate() {
        cases.push(case(&format!("example {index}"), true, example));
    }
    for (index, mutant) in mutants(&schema.schema, examples) {
        cases.push(case(
            &format!("example {index}: {}", mutant.name),
            mutant.fits,
            &mutant.document,
        ));
    }
    let lines: Vec<_> = cases.iter().map(|case| format!("    {case}")).collect();
    format!(
        "{{\n  \"schema\": \"{}\",\n  \"cases\": [\n{}\n  ]\n}}\n",
        schema.file_name(),
        lines.join(",\n")
    )
}

fn case(name: &str, schema_valid: bool, instance: &Value) -> Value {
    json!({ "name": name, "schemaValid": schema_valid, "instance": instance })
}
