//! `update`.

use clap::Args;

use crate::App;
use crate::cli::{ContainerArg, Format};
use crate::failure::{Failure, Outcome};
use crate::{output, parse, resolve};

/// Arguments of `update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    container: ContainerArg,
    /// Memory, as in 256m or 1g
    #[arg(short, long, value_name = "SIZE", value_parser = parse::size_mib)]
    memory: Option<u64>,
    /// Processor cores, as in 1.5
    #[arg(long, value_name = "CORES")]
    cpus: Option<f64>,
    /// Processes and threads
    #[arg(long, value_name = "N")]
    pids_limit: Option<u64>,
    /// Writable layer, as in 2g
    #[arg(long, value_name = "SIZE", value_parser = parse::size_mib)]
    disk: Option<u64>,
}

/// Changes the limits that are given; the others stay.
pub(crate) async fn run(app: &App, args: &UpdateArgs) -> Outcome {
    if args.memory.is_none() && args.cpus.is_none() && args.pids_limit.is_none() && args.disk.is_none() {
        return Err(Failure::usage(
            "nothing to change; give --memory, --cpus, --pids-limit or --disk",
        ));
    }
    let container = resolve::container(&*app.driver, &args.container.container).await?;
    let mut limits = container.resources;
    limits.memory = args.memory.unwrap_or(limits.memory);
    limits.cpu = args.cpus.unwrap_or(limits.cpu);
    limits.pids = args.pids_limit.unwrap_or(limits.pids);
    limits.disk = args.disk.unwrap_or(limits.disk);
    app.driver.update_resources(&container.id, &limits).await?;
    if app.format == Format::Table {
        output::line(&args.container.container)?;
    }
    Ok(0)
}
