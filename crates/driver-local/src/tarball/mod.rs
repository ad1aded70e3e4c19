//! Tars of strangers, for callers of the driver: the work itself is that of [`driver_local_shim::tarball`].

mod stream;

use std::io;

use driver_types::DriverError;

pub(crate) use driver_local_shim::tarball::*;
pub(crate) use stream::StreamReader;

pub(crate) fn broken(why: impl std::fmt::Display) -> DriverError {
    DriverError::file_system(format!("the archive cannot be read: {why}"))
}

/// What an archive is read from may fail with an error of the driver inside, that of the caller's stream or a limit's:
/// it is told as it is.
pub(crate) fn failed(error: io::Error) -> DriverError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(inner) = cause {
        if let Some(own) = inner.downcast_ref::<DriverError>() {
            return own.clone();
        }
        cause = inner.source();
    }
    broken(&error).with_source(error)
}

/// Why an archive was not unpacked.
pub(crate) fn told(error: Error) -> DriverError {
    let told = DriverError::file_system(error.to_string());
    match error {
        Error::Source(error) => failed(error),
        Error::Archive(_) => told,
        Error::File { error, .. } => told.with_source(error),
    }
}
