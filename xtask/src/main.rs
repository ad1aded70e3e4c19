//! Developer commands: `cargo xtask COMMAND`. This file only dispatches.

mod bench;
mod ci;
mod conformance;
mod crash;
mod engine;
mod rootless;
mod run;
mod schema;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Developer commands of this workspace"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the conformance suite on every driver that this machine has
    Conformance(conformance::Arguments),
    /// Start, stop or show a private Docker Engine (needs root and dockerd)
    Engine(engine::Arguments),
    /// Write the JSON Schemas and the tables in the docs, or check that they are up to date
    Schema(schema::Arguments),
    /// Run all tests: unit, property, integration and doc tests
    Test(test::Arguments),
    /// Run the benchmarks that stand behind the figures
    Bench(bench::Arguments),
    /// Run a program of this machine in a virtual machine with Debian's kernel and cgroup v2 only
    Vm(vm::Arguments),
    /// Kill applications and shims of driver-local at system calls and at random moments (needs root)
    Crash(crash::CrashArguments),
    /// Thousands of lifecycles of driver-local, and a thousand containers at once (needs root)
    Soak(crash::SoakArguments),
    /// Check what compilers do not: crate graph, file sizes, docs
    Tidy,
    /// Everything that CI runs but the tests: lint, docs, schemas, consumers, conformance
    Ci(ci::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Conformance(arguments) => conformance::main(&arguments),
        Command::Engine(arguments) => engine::main(&arguments),
        Command::Schema(arguments) => schema::main(&arguments),
        Command::Test(arguments) => test::main(&arguments),
        Command::Bench(arguments) => bench::main(&arguments),
        Command::Vm(arguments) => match vm::main(&arguments) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        Command::Crash(arguments) => crash::crash(&arguments),
        Command::Soak(arguments) => crash::soak(&arguments),
        Command::Tidy => tidy::main(),
        Command::Ci(arguments) => ci::main(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
