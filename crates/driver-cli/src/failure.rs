//! How a command fails, and how that is told on stderr.

use std::io::{self, Write};

use driver_errors::{DriverError, ErrorKind};

use crate::cli::Format;
use crate::flags;
use crate::output::printable;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense: exit code 2.
    Usage(String),
    /// A driver, or an input, failed: exit code 1, or 125 to 127 for `run` and `exec`.
    Driver(DriverError),
    /// The reader of our output has gone: nothing is said.
    BrokenPipe,
    /// Everything has been said already: only the exit code is left.
    Silent(u8),
}

/// The result of a command: its exit code, or a failure.
pub(crate) type Outcome = Result<u8, Failure>;

/// Exit code for a command line that makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Exit code of `run` and `exec` for a failure of the driver.
pub(crate) const DRIVER: u8 = 125;
/// Exit code when a time limit ended the process, as timeout(1) has it.
pub(crate) const TIMED_OUT: u8 = 124;
/// Exit code when the reader of our output has gone: 128 + SIGPIPE.
pub(crate) const BROKEN_PIPE: u8 = 141;

impl Failure {
    /// A command line that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::Driver(DriverError::file_system(error.to_string()))
        }
    }
}

/// The exit code by which `run` and `exec` tell that the driver failed: 126 or 127 when the program could not be
/// started, else 125.
pub(crate) fn process_code(error: &DriverError) -> u8 {
    let code = match error.kind() {
        ErrorKind::ContainerStart { exit_code, .. } | ErrorKind::ExecStart { exit_code, .. } => *exit_code,
        _ => None,
    };
    match code {
        Some(126) => 126,
        Some(127) => 127,
        _ => DRIVER,
    }
}

/// Tells of a failure on stderr and gives the exit code. `driver_code` is the code for errors of the driver.
pub(crate) fn report(failure: &Failure, format: Format, driver_code: impl Fn(&DriverError) -> u8) -> u8 {
    match failure {
        Failure::Usage(message) => {
            match format {
                Format::Json => write_json(&DriverError::configuration(message.clone())),
                Format::Table => write_text(&format!(
                    "error: {message}\n\nFor more information, try '--help'."
                )),
            }
            USAGE
        }
        Failure::Driver(error) => {
            tell(error, format);
            driver_code(error)
        }
        Failure::BrokenPipe => BROKEN_PIPE,
        Failure::Silent(code) => *code,
    }
}

/// Tells of an error on stderr: text for people, or the wire type as one line of JSON.
pub(crate) fn tell(error: &DriverError, format: Format) {
    match format {
        Format::Json => write_json(error),
        Format::Table => write_text(&flags::explain(error)),
    }
}

fn write_json(error: &DriverError) {
    let text = serde_json::to_string(error).unwrap_or_else(|failed| {
        format!("{{\"code\":\"INTERNAL_ERROR\",\"message\":\"{failed}\",\"retryable\":false}}")
    });
    // There is nowhere left to report that stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn write_text(text: &str) {
    let lines = text.lines().map(printable).collect::<Vec<_>>().join("\n");
    let _ = writeln!(io::stderr().lock(), "{lines}");
}
