//! `run`: create, attach, start, and carry input, output, signals and the exit code.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use driver_types::{
    Capability, ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerInstance, DriverError,
    PullPolicy, PullRequest, Signal, StopOptions,
};

use super::image;
use crate::App;
use crate::cli::Format;
use crate::config_args::ConfigArgs;
use crate::failure::{self, Failure, Outcome};
use crate::pump::{self, Ending, Wiring};
use crate::signals::Signals;
use crate::{log_handle, output, parse, terminal};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Remove the container when it has ended
    #[arg(long)]
    rm: bool,
    /// Print the id and leave the container running
    #[arg(short, long, conflicts_with = "rm", conflicts_with = "timeout")]
    detach: bool,
    /// Kill the container after this time; the exit code is then 124
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    timeout: Option<u64>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs a container to its end, or leaves it running with `--detach`.
pub(crate) async fn run(app: &App, args: RunArgs) -> Outcome {
    let mut config = args.config.into_config()?;
    if args.detach {
        return super::interruptible(app, detach(app, &config)).await;
    }
    if config.tty && config.stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::usage(
            "-t needs a terminal on stdin, and it is none; leave -t out, or -i",
        ));
    }
    let mut signals = Signals::catch()?;
    if let Some(signal) = pull_first(app, &mut config, &mut signals).await? {
        return Ok(code(signal));
    }

    // Not cut short by a signal: it is soon over, and then there is a container to remove.
    let container = app.driver.create_container(&config).await?;
    let run = Run {
        driver: &app.driver,
        container: &container,
        wiring: Wiring {
            stdin: config.stdin,
            tty: config.tty,
            detachable: !args.rm,
            owned: true,
            forward_signals: true,
            limit: args.timeout.map(Duration::from_millis),
        },
    };
    let outcome = run.to_the_end(&mut signals).await;
    let never_ran = matches!(outcome, Err(Unfinished::Start(_)));
    let failed = outcome.is_err() && !never_ran;
    if args.rm || never_ran {
        let removed = app.driver.force_remove(&container.id).await;
        return match (outcome, removed) {
            (Ok(code), Ok(())) => Ok(code),
            (Ok(_), Err(error)) => Err(error.into()),
            (Err(unfinished), removed) => Err(unfinished.with_cleanup(removed.err())),
        };
    }
    if failed {
        // Nobody reads it any more.
        let stopped = app
            .driver
            .stop_container(&container.id, &StopOptions::force())
            .await;
        return outcome.map_err(|unfinished| unfinished.with_cleanup(stopped.err()));
    }
    outcome.map_err(|unfinished| unfinished.with_cleanup(None))
}

async fn detach(app: &App, config: &ContainerConfig) -> Outcome {
    let container = app.driver.run_container(config).await?;
    match app.format {
        Format::Table => output::line(&container.id)?,
        Format::Json => output::json(&container)?,
    }
    Ok(0)
}

/// Pulls the image with a progress bar where a person watches; else `create_container` pulls it. Gives the signal
/// that came meanwhile.
async fn pull_first(
    app: &App,
    config: &mut ContainerConfig,
    signals: &mut Signals,
) -> Result<Option<Signal>, Failure> {
    // With a request id the config must be the same each time.
    if !std::io::stderr().is_terminal() || config.request_id.is_some() {
        return Ok(None);
    }
    let capabilities = app.driver.capabilities().await?;
    let needed = [Capability::Plan, Capability::PullImage];
    if !needed.iter().all(|needed| capabilities.supports(*needed)) || !app.driver.plan(config).await?.pull {
        return Ok(None);
    }
    let request = PullRequest::new(&config.image);
    tokio::select! {
        pulled = image::pull_with_progress(&*app.driver, &request) => pulled?,
        signal = signals.next_end() => return Ok(Some(signal)),
    };
    config.pull_policy = PullPolicy::Missing;
    Ok(None)
}

/// A container on its way.
struct Run<'a> {
    driver: &'a Arc<dyn ContainerDriver>,
    container: &'a ContainerInstance,
    wiring: Wiring,
}

/// Why a run did not come to its end.
enum Unfinished {
    /// The process never ran.
    Start(DriverError),
    /// The connection to it broke.
    Broken(Failure),
}

impl Unfinished {
    fn with_cleanup(self, cleanup: Option<DriverError>) -> Failure {
        match (self, cleanup) {
            (Self::Start(error) | Self::Broken(Failure::Driver(error)), Some(cleanup)) => {
                Failure::Driver(error.with_cleanup(cleanup))
            }
            (Self::Start(error), None) => Failure::Driver(error),
            (Self::Broken(failure), None) => failure,
            (Self::Broken(_), Some(cleanup)) => Failure::Driver(cleanup),
        }
    }
}

impl Run<'_> {
    /// Attaches before the start, so that not a byte is lost, and gives the exit code.
    async fn to_the_end(&self, signals: &mut Signals) -> Result<u8, Unfinished> {
        let id = &self.container.id;
        let attached = match self.driver.attach(id).await {
            Ok(handle) => Some(handle),
            Err(error) if error.code() == "UNSUPPORTED_OPERATION" && !self.wiring.stdin => None,
            Err(error) => return Err(Unfinished::Start(error)),
        };
        self.driver.start_container(id).await.map_err(Unfinished::Start)?;
        let handle = match attached {
            Some(handle) => handle,
            // The logs have everything from the start on.
            None => log_handle::follow(self.driver.clone(), id)
                .await
                .map_err(|error| Unfinished::Broken(error.into()))?,
        };
        let ending = pump::connect(handle, self.wiring, signals)
            .await
            .map_err(Unfinished::Broken)?;
        match ending {
            Ending::Detached => Ok(0),
            Ending::TimedOut => Ok(failure::TIMED_OUT),
            Ending::Impatient => Ok(code(Signal::KILL)),
            Ending::Exited(_) | Ending::OutputEnded => {
                let exit = self.driver.wait_exit(id).await;
                let exit = exit.map_err(|error| Unfinished::Broken(error.into()))?;
                Ok(exit.exit_code.map_or(failure::DRIVER, |code| code as u8))
            }
        }
    }
}

/// The exit code that tells of a signal.
fn code(signal: Signal) -> u8 {
    signal.exit_code() as u8
}
