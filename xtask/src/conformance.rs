//! `cargo xtask conformance`: the suite on every driver that this machine has.
//!
//! Each driver's crate has a test program `conformance`, which knows how to open its drivers. This command builds
//! those, runs one after another, and lets `conformance-report` join their reports and judge.
//!
//! `local-cgroup2` is the driver `local` in a virtual machine, whose kernel has cgroup v2 only. As that takes minutes, it
//! runs when it is asked for by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use crate::engine::Engine;
use crate::run::{Result, root};
use crate::{rootless, run, vm};

#[derive(Args, Default)]
pub(crate) struct Arguments {
    /// Only these drivers, with commas: docker, local, local-rootless, local-subids, local-cgroup2, mock-docker, mock-local
    #[arg(long, value_name = "LIST")]
    driver: Option<String>,
    /// Fail unless these drivers ran, with commas, and had a registry to pull from
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

/// A crate whose test program `conformance` opens drivers of this project.
struct Program {
    package: &'static str,
    /// The names of those drivers.
    drivers: &'static [&'static str],
    machine: Machine,
}

/// Where a program runs.
#[derive(PartialEq, Eq)]
enum Machine {
    This,
    /// This one, as this user without rights. Who is not root runs `local` that way already.
    Unprivileged(&'static str),
    Virtual,
}

const PROGRAMS: [Program; 6] = [
    Program {
        package: "driver-mock",
        drivers: &["mock-docker", "mock-local"],
        machine: Machine::This,
    },
    Program {
        package: "driver-local",
        drivers: &["local"],
        machine: Machine::This,
    },
    // Who has nothing, not even an entry in /etc/subuid.
    Program {
        package: "driver-local",
        drivers: &["local-rootless"],
        machine: Machine::Unprivileged("nobody"),
    },
    // To whom ids are granted: `useradd driver-subids` does.
    Program {
        package: "driver-local",
        drivers: &["local-subids"],
        machine: Machine::Unprivileged("driver-subids"),
    },
    Program {
        package: "driver-docker",
        drivers: &["docker"],
        machine: Machine::This,
    },
    // After `local`, which compiles what the containers run, and faster.
    Program {
        package: "driver-local",
        drivers: &["local-cgroup2"],
        machine: Machine::Virtual,
    },
];

/// The suite takes five to ten minutes on two emulated processors.
const VIRTUAL_DEADLINE: Duration = Duration::from_secs(1800);

pub(crate) fn main(arguments: &Arguments) -> Result {
    let programs = programs(arguments)?;
    let built = build(&programs)?;
    if arguments.list {
        let first = built.tests.first().ok_or("no driver has a conformance test")?;
        return run::run(Command::new(first).arg("--list").args(selection(arguments)));
    }
    let reports = root().join("target/conformance");
    fs::create_dir_all(&reports)?;
    let mut files = Vec::new();
    for (program, executable) in programs.iter().zip(&built.tests) {
        let file = reports.join(format!("{}.json", program.drivers[0]));
        let _ = fs::remove_file(&file);
        let ended = match program.machine {
            Machine::This => run_here(executable, arguments, &file)?,
            Machine::Unprivileged(user) => {
                let Some(found) = rootless::user(user)? else {
                    eprintln!("{} is left out: there is no user `{user}`", program.drivers[0]);
                    continue;
                };
                rootless::run(
                    executable,
                    program.drivers[0],
                    found,
                    &selection(arguments),
                    &file,
                )?
            }
            Machine::Virtual => run_virtually(program, executable, arguments, &file)?,
        };
        // Failed cases are in its report; only a program that wrote none is an error here.
        if !file.is_file() {
            return Err(format!("{} ended without a report ({ended})", executable.display()).into());
        }
        files.push(file);
    }
    report(&built.report, arguments, &files)
}

/// All drivers that CI requires, or those of them that this machine can have, with the results for people.
pub(crate) fn all(require: bool) -> Result {
    let without = vm::missing();
    if let Some(reason) = &without {
        match require {
            true => return Err(format!("local-cgroup2: {reason}").into()),
            false => println!("left out: local-cgroup2: {reason}"),
        }
    }
    let is_root = rootless::is_root()?;
    let here = |program: &&Program| match program.machine {
        Machine::This => true,
        Machine::Unprivileged(_) => is_root,
        Machine::Virtual => without.is_none(),
    };
    let drivers: Vec<&str> = PROGRAMS
        .iter()
        .filter(here)
        .flat_map(|program| program.drivers.iter().copied())
        .collect();
    let drivers = Some(drivers.join(","));
    main(&Arguments {
        require: drivers.clone().filter(|_| require),
        driver: drivers,
        format: "pretty".to_owned(),
        ..Arguments::default()
    })
}

/// The programs of the drivers that were asked for.
fn programs(arguments: &Arguments) -> Result<Vec<&'static Program>> {
    let required = arguments.require.iter().flat_map(|list| list.split(','));
    let Some(list) = &arguments.driver else {
        let required: Vec<&str> = required.collect();
        let is_root = rootless::is_root()?;
        let wanted = |program: &&Program| match program.machine {
            Machine::This => true,
            Machine::Unprivileged(_) if is_root => true,
            _ => program.drivers.iter().any(|driver| required.contains(driver)),
        };
        return Ok(PROGRAMS.iter().filter(wanted).collect());
    };
    let asked: Vec<&str> = list.split(',').collect();
    let known: Vec<&str> = PROGRAMS
        .iter()
        .flat_map(|program| program.drivers.iter().copied())
        .collect();
    if let Some(unknown) = asked.iter().find(|name| !known.contains(name)) {
        return Err(format!(
            "--driver: there is no driver `{unknown}`; use {}",
            known.join(", ")
        )
        .into());
    }
    let chosen = |program: &&Program| program.drivers.iter().any(|driver| asked.contains(driver));
    Ok(PROGRAMS.iter().filter(chosen).collect())
}

/// What cargo has built.
struct Built {
    /// The test programs, in the order of those that were asked for.
    tests: Vec<PathBuf>,
    /// What joins their reports.
    report: PathBuf,
}

fn build(programs: &[&Program]) -> Result<Built> {
    const TEST: &str = "conformance";
    const REPORT: &str = "conformance-report";
    let is_chosen = |package| programs.iter().any(|program| program.package == package);
    let mut options = vec!["--test", TEST, "--bin", REPORT];
    // All of them are built as the tests of the workspace are; for some, what others need is not built.
    if !PROGRAMS.iter().all(|program| is_chosen(program.package)) {
        let drivers = programs.iter().map(|program| program.package);
        let packages = drivers.chain(["driver-conformance"]);
        options.extend(packages.flat_map(|package| ["--package", package]));
    }
    let built = run::build(options)?;
    let find = |name, package| {
        let is_it = |program: &&run::Program| program.name == name && program.package == package;
        let found = built.iter().find(is_it);
        found
            .map(|program| program.executable.clone())
            .ok_or_else(|| format!("{package} has no program `{name}`"))
    };
    let tests: std::result::Result<_, _> = programs
        .iter()
        .map(|program| find(TEST, program.package))
        .collect();
    Ok(Built {
        tests: tests?,
        report: find(REPORT, "driver-conformance")?,
    })
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

/// Runs a program and tells how it ended.
fn run_here(executable: &Path, arguments: &Arguments, file: &Path) -> Result<String> {
    let mut command = Command::new(executable);
    command
        .args(selection(arguments))
        .args(["--format", "json", "--output"])
        .arg(file);
    if arguments.require.is_some() {
        command.env("DRIVER_REQUIRE_REGISTRY", "1");
    }
    let engine = Engine::of_this_checkout();
    if engine.is_up() {
        command.envs(engine.environment());
    }
    Ok(command.stdin(Stdio::null()).status()?.to_string())
}

/// The same in a virtual machine, which shares the directory of the reports.
fn run_virtually(program: &Program, executable: &Path, arguments: &Arguments, file: &Path) -> Result<String> {
    let directory = file.parent().unwrap_or(file).to_owned();
    let mut command = vec![executable.display().to_string()];
    command.extend(selection(arguments));
    // What an operation costs on an emulated processor says nothing.
    let output = ["--no-times", "--format", "json", "--output"];
    command.extend(output.map(str::to_owned));
    command.push(file.display().to_string());
    let variables = [
        ("DRIVER_CONFORMANCE_LOCAL_NAME", program.drivers[0]),
        ("DRIVER_CONFORMANCE_LOCAL_STATE", "/run/disk/driver-local"),
    ];
    let job = vm::Job {
        command,
        environment: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        directory: directory.clone(),
        shared: Some(directory),
        deadline: VIRTUAL_DEADLINE,
    };
    Ok(format!("exit code {}", job.run()?))
}

fn report(program: &Path, arguments: &Arguments, files: &[PathBuf]) -> Result {
    let mut command = Command::new(program);
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
