//! `cargo xtask crash` and `cargo xtask soak`: the long runs of what `cargo xtask test` samples.

use clap::Args;

use crate::run::{Result, cargo, run};

/// As tests of `driver-local`, by the names of `tests/crash/main.rs`.
const TARGET: [&str; 4] = ["test", "--all-features", "--test", "crash"];

#[derive(Args)]
pub(crate) struct CrashArguments {
    /// How many points for each victim, over all scripts and kinds of calls; 0: every one (half an hour)
    #[arg(long, value_name = "N", default_value_t = 400)]
    points: u32,
    /// How many rounds of random kills under load
    #[arg(long, value_name = "N", default_value_t = 500)]
    kills: u32,
    /// The seed of the random kills; none: another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
}

#[derive(Args)]
pub(crate) struct SoakArguments {
    /// How many lifecycles
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    lifecycles: u32,
    /// How many containers at once (1,000 need about 1 GiB)
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    at_once: u32,
}

pub(crate) fn crash(arguments: &CrashArguments) -> Result {
    let mut command = cargo(TARGET);
    command
        .args(["--", "points", "kills", "kills_without_root"])
        .env("DRIVER_CRASH_POINTS", arguments.points.to_string())
        .env("DRIVER_CRASH_KILLS", arguments.kills.to_string());
    if let Some(seed) = arguments.seed {
        command.env("DRIVER_CRASH_SEED", seed.to_string());
    }
    run(&mut command)
}

pub(crate) fn soak(arguments: &SoakArguments) -> Result {
    let mut command = cargo(TARGET);
    command
        .args(["--", "soak"])
        .env("DRIVER_SOAK_LIFECYCLES", arguments.lifecycles.to_string())
        .env("DRIVER_SOAK_AT_ONCE", arguments.at_once.to_string());
    run(&mut command)
}
