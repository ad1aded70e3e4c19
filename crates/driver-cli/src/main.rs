//! The program `driver`: containers on any driver from the command line.
//!
//! This file only dispatches; each command has its file in `commands`.

mod archive;
mod cli;
mod commands;
mod config_args;
mod drivers;
mod failure;
mod flags;
mod log_handle;
mod output;
mod parse;
mod pump;
mod resolve;
mod signals;
mod terminal;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use driver_types::{ContainerDriver, DriverError, ShutdownMode};

use cli::{Cli, Command, Format};
use failure::{Failure, Outcome};

/// What the commands work with.
struct App {
    driver: Arc<dyn ContainerDriver>,
    format: Format,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(cli::report_usage(&error)),
    };
    cli::log_to_stderr(cli.verbose);
    terminal::restore_on_panic();

    let format = cli.format;
    let runs_a_process = cli.command.runs_a_process();
    let code = start(cli).unwrap_or_else(|failure| {
        terminal::restore();
        failure::report(&failure, format, |error| {
            if runs_a_process {
                failure::process_code(error)
            } else {
                1
            }
        })
    });
    terminal::restore();
    // Ends at once: a thread may be in a read of stdin that nothing can interrupt.
    std::process::exit(code.into())
}

/// Runs what needs no driver; else opens the driver and runs the command on it.
fn start(cli: Cli) -> Outcome {
    match cli.command {
        Command::Completions(args) => return commands::shell::completions(&args),
        Command::Man(args) => return commands::shell::man(&args),
        Command::Schema(args) => return commands::schema::run(&args),
        Command::Validate(args) => return commands::validate::run(&args, cli.format),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let driver = drivers::open(&cli.driver, &cli.open_options())?;
        let app = App {
            driver,
            format: cli.format,
        };
        let outcome = if cli.command.handles_signals() {
            dispatch(&app, cli.command).await
        } else {
            commands::interruptible(&app, dispatch(&app, cli.command)).await
        };
        let explained = match outcome {
            Ok(code) => Ok(code),
            Err(failure) => Err(drivers::explain(&*app.driver, failure).await),
        };
        // What a driver does in the background is done before this process ends. Where that fails, the command has not.
        let _ = app.driver.shutdown(ShutdownMode::Leave).await;
        explained
    });
    runtime.shutdown_background();
    outcome
}

async fn dispatch(app: &App, command: Command) -> Outcome {
    use commands::*;
    match command {
        Command::Run(args) => run::run(app, *args).await,
        Command::Create(args) => create::run(app, *args).await,
        Command::Plan(args) => plan::run(app, *args).await,
        Command::Start(args) => lifecycle::start(app, &args).await,
        Command::Stop(args) => lifecycle::stop(app, &args).await,
        Command::Kill(args) => lifecycle::kill(app, &args).await,
        Command::Rm(args) => lifecycle::rm(app, &args).await,
        Command::Pause(args) => lifecycle::pause(app, &args).await,
        Command::Resume(args) => lifecycle::resume(app, &args).await,
        Command::Wait(args) => lifecycle::wait(app, &args).await,
        Command::Update(args) => update::run(app, &args).await,
        Command::Ps(args) => ps::run(app, &args).await,
        Command::Inspect(args) => inspect::run(app, &args).await,
        Command::Logs(args) => logs::run(app, &args).await,
        Command::Exec(args) => exec::run(app, *args).await,
        Command::Attach(args) => attach::run(app, &args).await,
        Command::Cp(args) => cp::run(app, &args).await,
        Command::Stats(args) => stats::run(app, &args).await,
        Command::Events(args) => events::run(app, &args).await,
        Command::Commit(args) => image::commit(app, &args).await,
        Command::Image(args) => image::run(app, args.command).await,
        Command::Volume(args) => volume::run(app, args.command).await,
        Command::Network(args) => network::run(app, args.command).await,
        Command::Health => engine::health(app).await,
        Command::Capabilities => engine::capabilities(app).await,
        Command::Preflight => engine::preflight(app).await,
        Command::Recover => engine::recover(app).await,
        Command::Reap(args) => engine::reap(app, &args).await,
        Command::Validate(_) | Command::Schema(_) | Command::Completions(_) | Command::Man(_) => Err(
            Failure::Driver(DriverError::internal("this command needs no driver")),
        ),
    }
}
