//! `start`, `stop`, `kill`, `rm`, `pause`, `resume`, `wait`: one operation on each of some containers.

use clap::Args;
use driver_types::{ContainerInstance, DriverError, RemoveOptions, Signal, StopOptions, WaitCondition};

use crate::App;
use crate::cli::Format;
use crate::config_args;
use crate::failure::{self, Failure, Outcome};
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
    let mut failed = false;
    for text in &args.containers.containers {
        let removed = match resolve::container(&*app.driver, text).await {
            Ok(container) => app.driver.remove_container(&container.id, &options).await,
            Err(error) if args.force && error.code() == "CONTAINER_NOT_FOUND" => continue,
            Err(error) => Err(error),
        };
        failed |= told(app, text, removed)?;
    }
    if failed { Err(Failure::Silent(1)) } else { Ok(0) }
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
    let mut failed = false;
    for text in &args.containers.containers {
        let waited = async {
            let container = resolve::container(&*app.driver, text).await?;
            app.driver.wait_container(&container.id, until).await
        };
        match (waited.await, app.format) {
            (Ok(exit), Format::Json) => output::json_line(&exit)?,
            (Ok(exit), Format::Table) => match exit.exit_code {
                Some(code) => output::line(code)?,
                None => output::line(exit.reason)?,
            },
            (Err(error), format) => {
                failure::tell(&error, format);
                failed = true;
            }
        }
    }
    if failed { Err(Failure::Silent(1)) } else { Ok(0) }
}

/// Does something to each container, prints what the user called it, and goes on after a failure.
async fn each(
    app: &App,
    args: &ContainersArgs,
    operation: impl AsyncFn(&ContainerInstance) -> Result<(), DriverError>,
) -> Outcome {
    let mut failed = false;
    for text in &args.containers {
        let result = match resolve::container(&*app.driver, text).await {
            Ok(container) => operation(&container).await,
            Err(error) => Err(error),
        };
        failed |= told(app, text, result)?;
    }
    if failed { Err(Failure::Silent(1)) } else { Ok(0) }
}

/// Tells of one result; whether it was a failure. The operations give nothing back, so JSON has nothing to show.
fn told(app: &App, text: &str, result: Result<(), DriverError>) -> Result<bool, Failure> {
    match result {
        Ok(()) if app.format == Format::Table => output::line(text)?,
        Ok(()) => {}
        Err(error) => {
            failure::tell(&error, app.format);
            return Ok(true);
        }
    }
    Ok(false)
}
