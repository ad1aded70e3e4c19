//! `start`, `stop`, `kill`, `rm`, `pause`, `resume`, `wait`: one operation on each of some containers.

use clap::Args;
use driver_types::{ContainerInstance, DriverError, RemoveOptions, Signal, StopOptions, WaitCondition};

use super::several::{self, Tally};
use crate::App;
use crate::cli::Format;
use crate::config_args;
use crate::failure::Outcome;
use crate::{output, parse, resolve};

/// Some containers.
#[derive(Debug, Args)]
pub(crate) struct ContainersArgs {
    /// Id, unique beginning of an id, or name
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Arguments of `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    containers: ContainersArgs,
}

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Time until SIGKILL [default: 10s]
    #[arg(short, long, visible_alias = "timeout", value_name = "TIME", value_parser = parse::duration)]
    time: Option<u64>,
    /// First signal [default: the container's]
    #[arg(short, long, value_name = "SIGNAL", value_parser = config_args::signal)]
    signal: Option<Signal>,
    /// SIGKILL at once
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    containers: ContainersArgs,
}

/// Arguments of `kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", value_parser = config_args::signal, default_value = "SIGKILL")]
    signal: Signal,
    #[command(flatten)]
    containers: ContainersArgs,
}

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Kill a running container; a container that does not exist is fine
    #[arg(short, long)]
    force: bool,
    /// Remove its volumes without a name too
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    containers: ContainersArgs,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Wait until the containers are removed
    #[arg(long)]
    removed: bool,
    #[command(flatten)]
    containers: ContainersArgs,
}

/// Starts containers; those that run already stay as they are.
pub(crate) async fn start(app: &App, args: &StartArgs) -> Outcome {
    each(app, &args.containers, async |container| {
        app.driver.start_container(&container.id).await
    })
    .await
}

/// Stops containers.
pub(crate) async fn stop(app: &App, args: &StopArgs) -> Outcome {
    let options = StopOptions {
        timeout: args.time,
        force: args.force,
        signal: args.signal,
    };
    each(app, &args.containers, async |container| {
        app.driver.stop_container(&container.id, &options).await
    })
    .await
}

/// Sends a signal to containers.
pub(crate) async fn kill(app: &App, args: &KillArgs) -> Outcome {
    each(app, &args.containers, async |container| {
        app.driver.signal_container(&container.id, args.signal).await
    })
    .await
}

/// Removes containers.
pub(crate) async fn rm(app: &App, args: &RmArgs) -> Outcome {
    let options = RemoveOptions {
        force: args.force,
        volumes: args.volumes,
        ignore_missing: args.force,
    };
    let mut tally = Tally::new(app.format);
    for text in &args.containers.containers {
        let removed = match resolve::container(&*app.driver, text).await {
            Ok(container) => app.driver.remove_container(&container.id, &options).await,
            Err(error) if args.force && error.code() == "CONTAINER_NOT_FOUND" => continue,
            Err(error) => Err(error),
        };
        tally.done(text, removed)?;
    }
    tally.end()
}

/// Freezes containers.
pub(crate) async fn pause(app: &App, args: &ContainersArgs) -> Outcome {
    each(app, args, async |container| {
        app.driver.pause_container(&container.id).await
    })
    .await
}

/// Lets containers go on.
pub(crate) async fn resume(app: &App, args: &ContainersArgs) -> Outcome {
    each(app, args, async |container| {
        app.driver.resume_container(&container.id).await
    })
    .await
}

/// Waits for containers and prints their exit codes, or an `ExitInfo` a line as JSON.
pub(crate) async fn wait(app: &App, args: &WaitArgs) -> Outcome {
    let until = if args.removed {
        WaitCondition::Removed
    } else {
        WaitCondition::Exited
    };
    let mut tally = Tally::new(app.format);
    for text in &args.containers.containers {
        let waited = async {
            let container = resolve::container(&*app.driver, text).await?;
            app.driver.wait_container(&container.id, until).await
        };
        let Some(exit) = tally.take(waited.await) else {
            continue;
        };
        match (app.format, exit.exit_code) {
            (Format::Json, _) => output::json_line(&exit)?,
            (Format::Table, Some(code)) => output::line(code)?,
            (Format::Table, None) => output::line(exit.reason)?,
        }
    }
    tally.end()
}

/// Does something to each container.
async fn each(
    app: &App,
    args: &ContainersArgs,
    operation: impl AsyncFn(&ContainerInstance) -> Result<(), DriverError>,
) -> Outcome {
    several::each(app, &args.containers, async |text| {
        operation(&resolve::container(&*app.driver, text).await?).await
    })
    .await
}
