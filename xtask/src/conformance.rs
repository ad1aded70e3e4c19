//! `cargo xtask conformance`: the suite on every driver that this machine has.
//!
//! Each driver's crate has a test program `conformance`, which knows how to open its drivers. This command builds
//! those, runs one after another, and lets `conformance-report` join their reports and judge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::Value;

use crate::engine::Engine;
use crate::rootless;
use crate::run::{Result, cargo, output, root, run};

#[derive(Args, Default)]
pub(crate) struct Arguments {
    /// Only these drivers, with commas: docker, local, local-rootless, local-subids, mock-docker, mock-local
    #[arg(long, value_name = "LIST")]
    driver: Option<String>,
    /// Fail unless these drivers ran, with commas
    #[arg(long, value_name = "LIST")]
    require: Option<String>,
    /// Only these groups, with commas
    #[arg(long, value_name = "LIST")]
    group: Option<String>,
    /// Only cases `group::case` that match, with `*` for any text
    #[arg(long, value_name = "GLOB")]
    case: Option<String>,
    /// Cases at the same time
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    /// How to print the results: pretty, json, junit or markdown (the driver comparison)
    #[arg(long, default_value = "pretty")]
    format: String,
    /// Write the results to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// List the cases and run none
    #[arg(long)]
    list: bool,
}

/// The crates whose test program `conformance` opens drivers of this project, with the names of those drivers.
const PACKAGES: [(&str, &[&str]); 3] = [
    ("driver-mock", &["mock-docker", "mock-local"]),
    ("driver-local", &["local", "local-rootless", "local-subids"]),
    ("driver-docker", &["docker"]),
];

pub(crate) fn main(arguments: &Arguments) -> Result {
    let packages = packages(arguments)?;
    let programs = build(&packages)?;
    if arguments.list {
        let first = programs.first().ok_or("no driver has a conformance test")?;
        return run(Command::new(first).arg("--list").args(selection(arguments)));
    }
    let reports = root().join("target/conformance");
    fs::create_dir_all(&reports)?;
    let mut files = Vec::new();
    for (package, program) in packages.iter().zip(&programs) {
        let drivers = PACKAGES.iter().find(|(name, _)| name == package);
        let drivers = drivers.map_or(&[][..], |(_, drivers)| drivers);
        let is_rootless = |driver: &str| rootless::DRIVERS.iter().any(|(name, _)| *name == driver);
        if drivers
            .iter()
            .any(|driver| !is_rootless(driver) && wanted(arguments, driver))
        {
            let file = reports.join(format!("{package}.json"));
            run_program(program, arguments, &file)?;
            files.push(file);
        }
        for (name, user) in rootless::DRIVERS {
            if drivers.contains(&name) && wanted(arguments, name) {
                files.extend(run_rootless(program, arguments, (name, user), &reports)?);
            }
        }
    }
    report(arguments, &files)
}

/// All drivers that CI requires, with the results for people.
pub(crate) fn all(require: bool) -> Result {
    let require =
        require.then(|| "docker,local,local-rootless,local-subids,mock-docker,mock-local".to_owned());
    main(&Arguments {
        require,
        format: "pretty".to_owned(),
        ..Arguments::default()
    })
}

/// The crates of the drivers that were asked for.
fn packages(arguments: &Arguments) -> Result<Vec<&'static str>> {
    let Some(list) = &arguments.driver else {
        return Ok(PACKAGES.map(|(package, _)| package).to_vec());
    };
    let asked: Vec<&str> = list.split(',').collect();
    let known: Vec<&str> = PACKAGES
        .iter()
        .flat_map(|(_, drivers)| drivers.iter().copied())
        .collect();
    if let Some(unknown) = asked.iter().find(|name| !known.contains(name)) {
        return Err(format!(
            "--driver: there is no driver `{unknown}`; use {}",
            known.join(", ")
        )
        .into());
    }
    let chosen = PACKAGES
        .iter()
        .filter(|(_, drivers)| drivers.iter().any(|driver| asked.contains(driver)));
    Ok(chosen.map(|(package, _)| *package).collect())
}

/// Builds the test programs of these crates and returns their paths, in the same order.
fn build(packages: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo([
        "test",
        "--no-run",
        "--test",
        "conformance",
        "--message-format",
        "json",
    ]);
    for package in packages {
        command.args(["--package", package]);
    }
    let messages = output(&mut command)?;
    let executables: Vec<Value> = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    packages
        .iter()
        .map(|package| {
            let message = executables.iter().find(|message| {
                message["executable"].is_string()
                    && message["target"]["name"] == "conformance"
                    && message["manifest_path"]
                        .as_str()
                        .is_some_and(|path| path.ends_with(&format!("{package}/Cargo.toml")))
            });
            let path = message.and_then(|message| message["executable"].as_str());
            path.map(PathBuf::from)
                .ok_or_else(|| format!("{package} has no test program `conformance`").into())
        })
        .collect()
}

/// Whether a driver was asked for.
fn wanted(arguments: &Arguments, driver: &str) -> bool {
    let list = arguments.driver.as_ref();
    list.is_none_or(|list| list.split(',').any(|name| name == driver))
}

fn selection(arguments: &Arguments) -> Vec<String> {
    let options = [
        ("--driver", arguments.driver.clone()),
        ("--group", arguments.group.clone()),
        ("--case", arguments.case.clone()),
        ("--jobs", arguments.jobs.map(|jobs| jobs.to_string())),
    ];
    options
        .into_iter()
        .filter_map(|(name, value)| Some([name.to_owned(), value?]))
        .flatten()
        .collect()
}

/// Runs a program as another user; the report, unless that cannot be here.
fn run_rootless(
    program: &Path,
    arguments: &Arguments,
    (name, user): (&str, &str),
    reports: &Path,
) -> Result<Option<PathBuf>> {
    // Who is not root runs `local` that way.
    if !rootless::is_root()? {
        return Ok(None);
    }
    let Some(found) = rootless::user(user)? else {
        eprintln!("{name} is left out: there is no user `{user}`; install uidmap, and `useradd -M {user}`");
        return Ok(None);
    };
    let file = reports.join(format!("{name}.json"));
    rootless::run(program, name, found, &selection(arguments), &file)?;
    Ok(Some(file))
}

/// Runs one program. Failed cases are in its report; only a program that wrote none is an error here.
fn run_program(program: &Path, arguments: &Arguments, file: &Path) -> Result {
    let _ = fs::remove_file(file);
    let mut command = Command::new(program);
    command
        .args(selection(arguments))
        .args(["--format", "json", "--output"])
        .arg(file);
    let engine = Engine::of_this_checkout();
    if engine.is_up() {
        command.envs(engine.environment());
    }
    let status = command.stdin(Stdio::null()).status()?;
    if file.is_file() {
        Ok(())
    } else {
        Err(format!("{} ended without a report ({status})", program.display()).into())
    }
}

fn report(arguments: &Arguments, files: &[PathBuf]) -> Result {
    let mut command = cargo([
        "run",
        "--quiet",
        "--package",
        "driver-conformance",
        "--bin",
        "conformance-report",
        "--",
    ]);
    command.args(["--format", &arguments.format]);
    if let Some(require) = &arguments.require {
        command.args(["--require", require]);
    }
    if let Some(output) = &arguments.output {
        command.arg("--output").arg(std::env::current_dir()?.join(output));
    }
    // The report's own last line says what failed.
    if command.args(files).status()?.success() {
        Ok(())
    } else {
        Err("the drivers do not all conform".into())
    }
}
