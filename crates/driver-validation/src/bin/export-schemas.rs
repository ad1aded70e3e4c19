//! Writes the JSON Schemas into a directory, or checks that they are there and up to date.
//!
//! `export-schemas [--check] DIRECTORY`: one `*.schema.json` file a type and form, and `index.json`. Files of ours that
//! no type has any more are removed. Exit code 1: `--check` found a difference; 2: usage.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use serde_json::{Value, json};

const FIX: &str = "cargo xtask schema";

fn main() -> ExitCode {
    let mut check = false;
    let mut directories = Vec::new();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--check" => check = true,
            _ => directories.push(argument),
        }
    }
    let [directory] = directories.as_slice() else {
        eprintln!("usage: export-schemas [--check] DIRECTORY");
        return ExitCode::from(2);
    };
    let directory = Path::new(directory);
    let result = match check {
        true => differences(directory),
        false => write(directory).map(|()| Vec::new()),
    };
    match result {
        Ok(differences) if differences.is_empty() => ExitCode::SUCCESS,
        Ok(differences) => {
            for difference in differences {
                eprintln!("{difference}");
            }
            eprintln!("the schemas are out of date; run: {FIX}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

/// All files by name.
fn files() -> BTreeMap<String, String> {
    let schemas = driver_validation::schemas();
    let entries: Vec<Value> = schemas
        .iter()
        .map(|schema| {
            json!({
                "name": schema.name,
                "form": schema.form.name(),
                "file": schema.file_name(),
                "id": schema.id(),
                "description": schema.schema.get("description"),
            })
        })
        .collect();
    let index = json!({
        "description": "JSON Schemas (2020-12) of the container driver contract. Form `input` is what drivers read, \
            form `output` is what they write.",
        "schemas": entries,
    });
    let mut files: BTreeMap<_, _> = schemas
        .iter()
        .map(|schema| (schema.file_name(), pretty(&schema.schema)))
        .collect();
    files.insert("index.json".to_owned(), pretty(&index));
    files
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let files = files();
    for name in present(directory)?
        .into_iter()
        .filter(|name| !files.contains_key(name))
    {
        fs::remove_file(directory.join(name))?;
    }
    for (name, content) in files {
        fs::write(directory.join(name), content)?;
    }
    Ok(())
}

fn differences(directory: &Path) -> io::Result<Vec<String>> {
    let files = files();
    let present = present(directory)?;
    let superfluous = present
        .iter()
        .filter(|name| !files.contains_key(*name))
        .map(|name| format!("{name}: superfluous"));
    let mut differences: Vec<_> = superfluous.collect();
    for (name, content) in &files {
        match fs::read_to_string(directory.join(name)) {
            Ok(found) if found == *content => {}
            Ok(_) => differences.push(format!("{name}: differs")),
            Err(error) => differences.push(format!("{name}: {error}")),
        }
    }
    Ok(differences)
}

/// The files of ours that are there.
fn present(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".schema.json") || name == "index.json" {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
