//! Running the program.

use assert_cmd::Command;
use driver_errors::DriverError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The program, without what the environment of the tests says to it.
pub(crate) fn driver() -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("driver");
    for name in ["DRIVER", "DRIVER_OWNER", "DRIVER_SESSION"] {
        command.env_remove(name);
    }
    command.env("COLUMNS", "100");
    command
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    ran(driver().args(arguments))
}

/// Runs a command.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("the program starts");
    Ran {
        code: output.status.code().expect("it ends by itself"),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

impl Ran {
    /// Stdout as a wire type. What is written again must be what was read: no field is lost, none is invented.
    pub(crate) fn json<T: Serialize + DeserializeOwned>(&self) -> T {
        let raw: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self:?}"));
        let typed: T = serde_json::from_value(raw.clone())
            .unwrap_or_else(|error| panic!("stdout is not the wire type: {error}\n{raw:#}"));
        assert_eq!(serde_json::to_value(&typed).unwrap(), raw);
        typed
    }

    /// Stderr as the one error that it must hold.
    pub(crate) fn error(&self) -> DriverError {
        assert_eq!(self.stderr.lines().count(), 1, "one error on one line: {self:?}");
        serde_json::from_str(&self.stderr)
            .unwrap_or_else(|error| panic!("stderr is not an error: {error}\n{self:?}"))
    }
}
