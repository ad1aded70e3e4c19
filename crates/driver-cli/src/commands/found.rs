//! What an `inspect` of several objects found: the found ones as one JSON array, the missing ones as errors.

use driver_types::DriverError;
use serde::Serialize;

use crate::cli::Format;
use crate::failure::{self, Failure, Outcome};
use crate::output;

/// Gathers the answers of one `inspect`. A missing object is told at once and does not hide the others.
pub(crate) struct Found<T> {
    format: Format,
    objects: Vec<T>,
    missing: bool,
}

impl<T: Serialize> Found<T> {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            objects: Vec::new(),
            missing: false,
        }
    }

    pub(crate) fn add(&mut self, object: Option<T>, error: impl FnOnce() -> DriverError) {
        match object {
            Some(object) => self.objects.push(object),
            None => {
                failure::tell(&error(), self.format);
                self.missing = true;
            }
        }
    }

    /// Prints what was found; fails when something was missing.
    pub(crate) fn print(self) -> Outcome {
        output::json_pretty(&self.objects)?;
        if self.missing {
            Err(Failure::Silent(1))
        } else {
            Ok(0)
        }
    }
}
