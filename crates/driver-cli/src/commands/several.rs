//! Commands on several objects that the user named: each failure is told, and none hides the other objects.

use driver_types::DriverError;
use serde::Serialize;

use crate::App;
use crate::cli::Format;
use crate::failure::{self, Failure, Outcome};
use crate::output;

/// Tells of failures as they come, and remembers for the exit code that there was one.
pub(crate) struct Tally {
    format: Format,
    failed: bool,
}

impl Tally {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            failed: false,
        }
    }

    /// What an operation gave, unless it failed.
    pub(crate) fn take<T>(&mut self, result: Result<T, DriverError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                failure::tell(&error, self.format);
                self.failed = true;
                None
            }
        }
    }

    /// Tells of an operation that gives nothing back: what the user called the object, where JSON has nothing to show.
    pub(crate) fn done(&mut self, name: &str, result: Result<(), DriverError>) -> Result<(), Failure> {
        if self.take(result).is_some() && self.format == Format::Table {
            output::line(name)?;
        }
        Ok(())
    }

    /// Exit code 1 when anything failed.
    pub(crate) fn end(self) -> Outcome {
        if self.failed {
            Err(Failure::Silent(1))
        } else {
            Ok(0)
        }
    }
}

/// Does something to each object.
pub(crate) async fn each(
    app: &App,
    names: &[String],
    operation: impl AsyncFn(&str) -> Result<(), DriverError>,
) -> Outcome {
    let mut tally = Tally::new(app.format);
    for name in names {
        tally.done(name, operation(name).await)?;
    }
    tally.end()
}

/// Prints the objects as one JSON array, whatever the format: there is more in them than a table can show.
pub(crate) async fn inspect<T: Serialize>(
    app: &App,
    names: &[String],
    find: impl AsyncFn(&str) -> Result<T, DriverError>,
) -> Outcome {
    let mut tally = Tally::new(app.format);
    let mut found = Vec::new();
    for name in names {
        found.extend(tally.take(find(name).await));
    }
    output::json_pretty(&found)?;
    tally.end()
}
