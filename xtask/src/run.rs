//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The result of every command; the error is for people.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// `cargo` in the root of the workspace.
pub(crate) fn cargo<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command to its end; a non-zero exit is an error that shows the command.
pub(crate) fn run(command: &mut Command) -> Result {
    let shown = show(command);
    let status = command
        .status()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}` failed ({status})").into())
    }
}

/// Runs a command to its end and returns its stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` failed ({})", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A program that cargo has built.
pub(crate) struct Program {
    /// The directory of its package.
    pub(crate) directory: PathBuf,
    /// The name of its package.
    pub(crate) package: String,
    /// The name of its target.
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
}

/// Builds the programs that these arguments of `cargo build` choose.
///
/// Cargo builds a crate once more for each set of features that is asked of it. So it is asked for those of all crates of
/// the workspace with their tests, as `cargo xtask test` asks: at least one of the targets has to be a test or an example.
pub(crate) fn build<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Vec<Program>> {
    let mut command = cargo(["build", "--all-features", "--message-format", "json"]);
    let messages = output(command.args(arguments))?;
    let program = |message: &str| {
        let message: Value = serde_json::from_str(message).ok()?;
        let executable = message["executable"].as_str()?.into();
        let directory = Path::new(message["manifest_path"].as_str()?).parent()?;
        Some(Program {
            directory: directory.to_owned(),
            // As all packages of this workspace are called.
            package: directory.file_name()?.to_string_lossy().into_owned(),
            name: message["target"]["name"].as_str()?.to_owned(),
            executable,
        })
    };
    Ok(messages.lines().filter_map(program).collect())
}

/// Whether a program answers `--version`.
pub(crate) fn is_installed(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn show(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    command.get_args().fold(program, |shown, argument| {
        shown + " " + &argument.to_string_lossy()
    })
}
