//! The command line: global options and the list of commands.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::{Args, Parser, Subcommand, ValueEnum};
use driver_errors::DriverError;
use driver_types::labels;

use crate::commands;
use crate::drivers::{self, OpenOptions};
use crate::failure::USAGE;

/// Where the help shows the options that every command has.
const GLOBAL: &str = "Global options";

/// Runs containers on any driver, with the commands of Docker and secure defaults: no network, a read-only root,
/// an ordinary user, no capabilities, and limits on memory, processors, processes and disk.
#[derive(Debug, Parser)]
#[command(
    name = "driver",
    version,
    propagate_version = false,
    styles = Styles::plain(),
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "Exit codes: `run` and `exec` return that of the process, 124 when --timeout ended it, 125 when the driver \
                  failed, 126 and 127 when the program could not be started; other commands return 1 on failure. 2 is a \
                  usage error.\n\n\
                  Containers are named by id, unique beginning of an id, or name."
)]
pub(crate) struct Cli {
    /// The driver that runs the containers.
    #[arg(long, global = true, help_heading = GLOBAL, env = "DRIVER", value_name = "NAME", default_value = drivers::DEFAULT,
          help = drivers::help())]
    pub driver: String,

    /// Whose objects are seen and changed; drivers keep it in a label.
    #[arg(long, global = true, help_heading = GLOBAL, env = "DRIVER_OWNER", value_name = "NAME", default_value = labels::DEFAULT_OWNER)]
    pub owner: String,

    /// How results and errors are written; JSON is always the wire type, streams are one document a line.
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,

    /// The script of a mock's world (JSON). A mock lives in one process only: nothing is kept between commands.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub mock_script: Option<PathBuf>,

    // Not global: after a command, `-v` is that command's own flag, as with Docker.
    /// Log what the driver does to stderr; twice: everything. Stands before the command.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    #[command(subcommand)]
    pub command: Command,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// The commands. Large argument lists are boxed.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create and start a container, and pass its output, input and exit code through
    #[command(override_usage = "driver run [OPTIONS] IMAGE [--] [COMMAND [ARG]...]")]
    Run(Box<commands::run::RunArgs>),
    /// Create a container without starting it
    #[command(override_usage = "driver create [OPTIONS] IMAGE [--] [COMMAND [ARG]...]")]
    Create(Box<commands::create::CreateArgs>),
    /// Start containers
    Start(commands::lifecycle::StartArgs),
    /// Stop containers: a signal, then SIGKILL when the time is over
    Stop(commands::lifecycle::StopArgs),
    /// Send a signal to the main process of containers
    Kill(commands::lifecycle::KillArgs),
    /// Remove containers
    Rm(commands::lifecycle::RmArgs),
    /// Freeze all processes of containers
    Pause(commands::lifecycle::ContainersArgs),
    /// Let frozen processes go on
    #[command(visible_alias = "unpause")]
    Resume(commands::lifecycle::ContainersArgs),
    /// Wait until containers have ended, and print their exit codes
    Wait(commands::lifecycle::WaitArgs),
    /// Change the resource limits of a container
    Update(commands::update::UpdateArgs),
    /// List containers
    #[command(visible_alias = "ls")]
    Ps(commands::ps::PsArgs),
    /// Show all that is known about containers, as a JSON array
    Inspect(commands::inspect::InspectArgs),
    /// Print the output of a container
    Logs(commands::logs::LogsArgs),
    /// Run a process in a running container
    #[command(override_usage = "driver exec [OPTIONS] CONTAINER [--] COMMAND [ARG]...")]
    Exec(Box<commands::exec::ExecArgs>),
    /// Connect to the main process of a container
    Attach(commands::attach::AttachArgs),
    /// Copy files from or to a container; `-` is a tar stream on stdin or stdout
    Cp(commands::cp::CpArgs),
    /// Show what containers use
    Stats(commands::stats::StatsArgs),
    /// Print what happens, as it happens
    Events(commands::events::EventsArgs),
    /// Make an image of a container's root file system
    Commit(commands::image::CommitArgs),
    /// List, pull, import and remove images
    #[command(visible_alias = "images")]
    Image(commands::image::ImageArgs),
    /// Create, list, inspect and remove volumes
    Volume(commands::volume::VolumeArgs),
    /// Create, list, inspect and remove networks
    Network(commands::network::NetworkArgs),
    /// Whether the engine answers; exit code 1 if not
    Health,
    /// What the driver can do on this host
    Capabilities,
    /// What this host has and lacks, with remedies; exit code 1 if the driver cannot work
    Preflight,
    /// What `create` would do: native, emulated or refused; exit code 1 if refused
    #[command(override_usage = "driver plan [OPTIONS] IMAGE [--] [COMMAND [ARG]...]")]
    Plan(Box<commands::plan::PlanArgs>),
    /// Check a file against the schema and the rules of a type; exit code 1 if it breaks any
    Validate(commands::validate::ValidateArgs),
    /// Print the JSON Schema of a wire type, or list them
    Schema(commands::schema::SchemaArgs),
    /// Remove what has expired or has no owner
    Reap(commands::engine::ReapArgs),
    /// Adopt what a crashed process has left, and tell what ended meanwhile
    Recover,
    /// Print a completion script for a shell
    Completions(commands::shell::CompletionsArgs),
    /// Print the manual page of this program, or of a command
    Man(commands::shell::ManArgs),
}

impl Command {
    /// Whether the exit code is that of a process in a container.
    pub(crate) fn runs_a_process(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Exec(_) | Self::Attach(_))
    }

    /// Whether the command does what is right on a signal; the others are dropped.
    pub(crate) fn handles_signals(&self) -> bool {
        self.runs_a_process() || matches!(self, Self::Cp(_))
    }
}

impl Cli {
    /// How to open the driver.
    pub(crate) fn open_options(&self) -> OpenOptions {
        OpenOptions {
            owner: self.owner.clone(),
            mock_script: self.mock_script.clone(),
        }
    }
}

/// Tells of a command line that clap refused, or prints the help that was asked for. Gives the exit code.
pub(crate) fn report_usage(error: &clap::Error) -> u8 {
    let wants_json = || {
        let arguments: Vec<_> = std::env::args().collect();
        arguments.iter().any(|argument| argument == "--format=json")
            || arguments.windows(2).any(|pair| pair == ["--format", "json"])
    };
    if error.use_stderr() && wants_json() {
        let text = error.render().to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text);
        let message = message.split("\n\n").next().unwrap_or(message).trim();
        let error = DriverError::configuration(message);
        if let Ok(json) = serde_json::to_string(&error) {
            // There is nowhere left to report that stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{json}");
        }
        return USAGE;
    }
    match error.print() {
        Ok(()) if !error.use_stderr() => 0,
        _ => USAGE,
    }
}

/// Sends the drivers' log to stderr, if it is wanted.
pub(crate) fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_new(format!(
        "warn,driver_docker={level},driver_local={level},driver_mock={level}"
    ))
    .unwrap_or_default();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .without_time()
        .init();
}

/// A container of a command.
#[derive(Debug, Args)]
pub(crate) struct ContainerArg {
    /// Id, unique beginning of an id, or name.
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
