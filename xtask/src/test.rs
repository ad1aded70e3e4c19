//! `cargo xtask test`: all tests, by nextest where it is installed.

use clap::Args;

use crate::engine::Engine;
use crate::run::{Result, cargo, is_installed, run};

#[derive(Args)]
pub(crate) struct Arguments {}

pub(crate) fn main(_: &Arguments) -> Result {
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
