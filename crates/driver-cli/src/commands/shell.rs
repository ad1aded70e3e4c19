//! `completions` and `man`.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

/// Prints the completion script for a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "driver", &mut script);
    write(&script)
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command, such as run or `image pull`; the program itself where none is given
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Prints a manual page in roff: `driver man run | man -l -`.
pub(crate) fn man(args: &ManArgs) -> Outcome {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut command = root;
    let mut title = "driver".to_owned();
    for name in &args.command {
        let found = command
            .get_subcommands()
            .find(|sub| sub.get_name_and_visible_aliases().contains(&name.as_str()));
        command = found.cloned().ok_or_else(|| {
            Failure::usage(format!(
                "there is no command `{name}` of `{}`",
                command.get_name()
            ))
        })?;
        title = format!("{title}-{}", command.get_name());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.name(title)).render(&mut page)?;
    write(&page)
}

fn write(bytes: &[u8]) -> Outcome {
    let text =
        std::str::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    output::text(text)?;
    Ok(0)
}
