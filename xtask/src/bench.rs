//! `cargo xtask bench`: the benchmarks that stand behind the figures; each measures its rival in the same run.

use std::path::Path;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::engine::Engine;
use crate::run::{Result, cargo, output, root, run};

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
    /// The driver local against the kernel's floor and other runtimes; writes docs/benchmarks.md
    Local,
}

pub(crate) fn main(arguments: &Arguments) -> Result {
    let all = [
        Bench::Validation,
        Bench::State,
        Bench::Mock,
        Bench::Docker,
        Bench::Local,
    ];
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
            Bench::Local => ("driver-local", "local"),
        };
        let words = vec!["bench", "--package", package, "--bench", target];
        let mut command = match *bench {
            Bench::Local if is_hybrid() => without_cgroup2(cargo(words)),
            _ => cargo(words),
        };
        let engine = Engine::of_this_checkout();
        if engine.is_up() {
            command
                .envs(engine.environment())
                .env("DOCKER_HOST", engine.host());
        }
        if *bench == Bench::Local {
            command.env("DRIVER_BENCH_OUT", root().join("docs/benchmarks.md"));
        }
        run(&mut command)?;
    }
    Ok(())
}

/// Where systemd keeps an empty hierarchy of version 2 beside the controllers of version 1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Whether crun would refuse this machine for its mix of cgroup versions.
fn is_hybrid() -> bool {
    Path::new(UNIFIED).join("cgroup.procs").exists() && is_root()
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// In a mount namespace of its own, where version 2 is covered. The machine stays as it is.
fn without_cgroup2(command: Command) -> Command {
    let mut covered = Command::new("unshare");
    covered
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg(format!("mount -t tmpfs none {UNIFIED} && exec \"$@\""))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(root());
    covered
}
