//! `cargo xtask bench`: the benchmarks that stand behind the figures; each measures its rival in the same run.

use clap::{Args, ValueEnum};

use crate::engine::Engine;
use crate::run::{Result, cargo, run};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which; none: all that can run here
    #[arg(value_enum)]
    benches: Vec<Bench>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Config text to typed config, against node's JSON.parse with ajv and with zod
    Validation,
    /// The state store and the resource tracker
    State,
    /// The mock's throughput
    Mock,
    /// The Docker driver against raw requests to the same engine
    Docker,
}

pub(crate) fn main(arguments: &Arguments) -> Result {
    let all = [Bench::Validation, Bench::State, Bench::Mock, Bench::Docker];
    let chosen = if arguments.benches.is_empty() {
        &all[..]
    } else {
        &arguments.benches
    };
    for bench in chosen {
        let (package, target) = match bench {
            Bench::Validation => ("driver-validation", "validate"),
            Bench::State => ("driver-state", "state"),
            Bench::Mock => ("driver-mock", "mock"),
            Bench::Docker => ("driver-docker", "docker"),
        };
        let mut command = cargo(["bench", "--package", package, "--bench", target]);
        let engine = Engine::of_this_checkout();
        if *bench == Bench::Docker && engine.is_up() {
            command.envs(engine.environment());
        }
        run(&mut command)?;
    }
    Ok(())
}
