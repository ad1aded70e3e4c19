//! What went wrong, as the driver is told.

use std::fmt::Display;
use std::io;

use driver_local_shim::{Report, Stage};

/// The result of a step.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) exit_code: Option<u8>,
    pub(crate) errno: Option<i32>,
    pub(crate) message: String,
}

impl Failure {
    /// One that the kernel has no part in.
    pub(crate) fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self {
            stage,
            exit_code: None,
            errno: None,
            message: message.into(),
        }
    }
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        Self::Failed {
            stage: failure.stage,
            exit_code: failure.exit_code,
            errno: failure.errno,
            message: failure.message,
        }
    }
}

/// Says at which stage an error happened, and with what.
pub(crate) trait At<T> {
    /// `what` is a phrase with the names that matter; the kernel's words follow it.
    fn at<D: Display>(self, stage: Stage, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at<D: Display>(self, stage: Stage, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Failure {
                stage,
                exit_code: None,
                errno: error.raw_os_error(),
                message: format!("{}: {error}", what()),
            }
        })
    }
}
