//! `cargo xtask ci`: everything that CI runs but the tests, cheapest first, so that a slip shows early.

use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::run::{Result, cargo, is_installed, root, run};
use crate::{conformance, schema, test, tidy, vm};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Fail where something of the machine is missing, instead of leaving a step out
    #[arg(long)]
    require_all: bool,
}

type Step = (&'static str, fn(&Arguments) -> Result);

const STEPS: &[Step] = &[
    ("format", |_| run(&mut cargo(["fmt", "--all", "--check"]))),
    ("tidy", |_| tidy::main()),
    ("unused dependencies", |arguments| tool(arguments, &["machete"])),
    ("licences, bans and sources", |arguments| {
        tool(
            arguments,
            &["deny", "--all-features", "check", "bans", "licenses", "sources"],
        )
    }),
    ("lint", |_| {
        run(&mut cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ]))
    }),
    ("docs", |_| {
        run(cargo(["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("schemas", |_| schema::generate(true)),
    ("consumers in other languages", consumers),
    ("conformance", |arguments| conformance::all(arguments.require_all)),
    ("cgroup v2 and quotas", |arguments| match vm::missing() {
        Some(reason) => leave_out(arguments, &reason),
        // The conformance suite has asked the rest.
        None => test::virtually(Some("cgroup quota image_of_many_layers")),
    }),
];

pub(crate) fn main(arguments: &Arguments) -> Result {
    for (name, step) in STEPS {
        println!("==> {name}");
        let start = Instant::now();
        step(arguments).map_err(|error| format!("{name}: {error}"))?;
        println!("<== {name}: ok in {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Runs a cargo tool that may not be installed. By its own name: run by cargo inside of `cargo run`, cargo-machete
/// mistakes its name for an argument.
fn tool(arguments: &Arguments, words: &[&str]) -> Result {
    let program = format!("cargo-{}", words[0]);
    if is_installed(Command::new(&program).arg("--version")) {
        return run(Command::new(&program).args(&words[1..]).current_dir(root()));
    }
    leave_out(
        arguments,
        &format!("{program} is not installed: cargo install --locked {program}"),
    )
}

fn consumers(arguments: &Arguments) -> Result {
    for program in ["node", "npm", "python3"] {
        if !is_installed(Command::new(program).arg("--version")) {
            return leave_out(arguments, &format!("{program} is not installed"));
        }
    }
    run(Command::new("examples/check.sh").current_dir(root()))
}

fn leave_out(arguments: &Arguments, reason: &str) -> Result {
    if arguments.require_all {
        return Err(reason.into());
    }
    println!("left out: {reason}");
    Ok(())
}
