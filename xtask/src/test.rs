//! `cargo xtask test`: all tests, by nextest where it is installed; or those that ask the kernel, on another one.

use std::time::Duration;

use clap::Args;

use crate::engine::Engine;
use crate::run::{Result, build, cargo, is_installed, root, run};
use crate::vm;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The tests of driver-local, in a virtual machine with cgroup v2 only
    #[arg(long)]
    vm: bool,
    /// With --vm: only tests whose name has this in it; of several, with spaces, one of them
    #[arg(requires = "vm")]
    filter: Option<String>,
}

pub(crate) fn main(arguments: &Arguments) -> Result {
    if arguments.vm {
        return virtually(arguments.filter.as_deref());
    }
    let engine = Engine::of_this_checkout();
    let environment = if engine.is_up() {
        engine.environment()
    } else {
        Vec::new()
    };
    let variables = || environment.iter().map(|(name, value)| (name, value));
    // Doc tests first, so that the summary of the test runner comes last.
    run(cargo(["test", "--workspace", "--all-features", "--doc", "--quiet"]).envs(variables()))?;
    if is_installed(&mut cargo(["nextest", "--version"])) {
        run(cargo(["nextest", "run", "--workspace", "--all-features"]).envs(variables()))
    } else {
        run(cargo([
            "test",
            "--workspace",
            "--all-features",
            "--lib",
            "--bins",
            "--tests",
        ])
        .envs(variables()))
    }
}

/// Several programs in one machine. It shares nothing: what tests write is forgotten.
pub(crate) fn virtually(filter: Option<&str>) -> Result {
    if let Some(reason) = vm::missing() {
        return Err(reason.into());
    }
    let mut programs = build(["--tests"])?;
    programs.retain(|program| program.package == "driver-local");
    let directory = programs
        .first()
        .map_or_else(root, |program| program.directory.clone());
    let script = "failed=0; filter=$1; shift; for program; do \"$program\" --test-threads 2 $filter || failed=1; done; exit $failed";
    let mut command: Vec<String> = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    command.push(filter.unwrap_or_default().to_owned());
    command.extend(
        programs
            .iter()
            .map(|program| program.executable.display().to_string()),
    );
    let job = vm::Job {
        command,
        // The machine has both, so that nothing is to be skipped for want of them.
        environment: ["DRIVER_REQUIRE_CGROUP2", "DRIVER_REQUIRE_QUOTA"]
            .map(|name| (name.to_owned(), "1".to_owned()))
            .to_vec(),
        directory,
        shared: None,
        deadline: Duration::from_secs(1200),
    };
    match job.run()? {
        0 => Ok(()),
        code => Err(format!("tests fail on cgroup v2 (exit code {code})").into()),
    }
}
