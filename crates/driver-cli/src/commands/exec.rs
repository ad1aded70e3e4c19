//! `exec`.

use std::path::PathBuf;

use clap::Args;
use driver_types::{ExecSpec, ProcessExit};
use tokio::io::AsyncReadExt;

use crate::App;
use crate::cli::Format;
use crate::config_args::split_command;
use crate::failure::{self, Failure, Outcome};
use crate::pump::{self, Ending, Wiring};
use crate::signals::Signals;
use crate::{output, parse, resolve, terminal};

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Carry stdin to the process
    #[arg(short, long)]
    interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Leave the process running and return at once
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    detach: bool,
    /// Environment variable; NAME alone takes the value from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// File of environment variables, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// User name or uid, with a group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Kill the process with all that it started after this time; the exit code is then 124
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    timeout: Option<u64>,
    // One positional: everything after the container belongs to the process.
    /// The container, then the program with its arguments
    #[arg(value_name = "CONTAINER", required = true, num_args = 2.., trailing_var_arg = true,
          allow_hyphen_values = true)]
    container_and_command: Vec<String>,
}

/// Bytes of stdin that `--format json` sends at most: there they go in one piece.
const MAX_STDIN: u64 = 64 << 20;

/// Runs a process in a container and returns its exit code. With JSON the result is an `ExecResult`.
pub(crate) async fn run(app: &App, args: ExecArgs) -> Outcome {
    let (container, spec) = args.spec()?;
    if spec.tty && args.interactive && !terminal::stdin_is_terminal() {
        return Err(Failure::usage(
            "-t needs a terminal on stdin, and it is none; leave -t out, or -i",
        ));
    }
    let id = resolve::container(&*app.driver, &container).await?.id;
    if args.detach {
        app.driver.exec_stream(&id, &spec).await?.detach();
        return Ok(0);
    }
    if app.format == Format::Json {
        return collected(app, &id, spec, args.interactive).await;
    }
    let mut signals = Signals::catch()?;
    let mut spec = spec;
    spec.attach_stdin = args.interactive;
    spec.terminal_size = if spec.tty { terminal::size() } else { None };
    let wiring = Wiring {
        stdin: args.interactive,
        tty: spec.tty,
        detachable: true,
        owned: true,
        forward_signals: true,
        limit: None,
    };
    let handle = app.driver.exec_stream(&id, &spec).await?;
    Ok(match pump::connect(handle, wiring, &mut signals).await? {
        Ending::Exited(exit) => code(exit),
        Ending::Detached => 0,
        Ending::TimedOut => failure::TIMED_OUT,
        Ending::Impatient => 137,
        Ending::OutputEnded => failure::DRIVER,
    })
}

async fn collected(app: &App, id: &str, mut spec: ExecSpec, interactive: bool) -> Outcome {
    if interactive {
        let mut input = Vec::new();
        tokio::io::stdin()
            .take(MAX_STDIN + 1)
            .read_to_end(&mut input)
            .await?;
        if input.len() as u64 > MAX_STDIN {
            return Err(Failure::usage(
                "stdin is longer than 64 MiB; leave `--format json` out, or use `driver cp`",
            ));
        }
        spec.stdin = Some(input.into());
    }
    let mut signals = Signals::catch()?;
    let result = tokio::select! {
        result = app.driver.exec(id, &spec) => result?,
        signal = signals.next_end() => {
            // The dropped future has the tree killed in the background.
            super::finish(app).await;
            return Ok(signal.exit_code() as u8);
        }
    };
    output::json(&result)?;
    Ok(code(ProcessExit {
        exit_code: result.exit_code,
        signal: result.signal,
        timed_out: result.timed_out,
    }))
}

fn code(exit: ProcessExit) -> u8 {
    if exit.timed_out {
        failure::TIMED_OUT
    } else {
        exit.exit_code as u8
    }
}

impl ExecArgs {
    fn spec(&self) -> Result<(String, ExecSpec), Failure> {
        let (container, command) = split_command(self.container_and_command.clone())?;
        if command.is_empty() {
            return Err(Failure::usage(
                "no command; write driver exec CONTAINER COMMAND [ARG...]",
            ));
        }
        let lookup = |name: &str| std::env::var(name).ok();
        let mut spec = ExecSpec::new(command);
        for file in &self.env_file {
            spec.env.extend(parse::env_file(file, lookup)?);
        }
        spec.env
            .extend(parse::env_pairs(self.env.iter().map(String::as_str), lookup));
        spec.working_dir.clone_from(&self.workdir);
        spec.user.clone_from(&self.user);
        spec.tty = self.tty;
        spec.timeout_ms = self.timeout;
        Ok((container, spec))
    }
}
