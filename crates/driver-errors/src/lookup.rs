//! Finding a [`DriverError`] in a chain of other errors (the origin's `isDriverError`).

use std::error::Error;

use crate::DriverError;

/// The first [`DriverError`] in `error` and its sources.
pub fn find_driver_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a DriverError> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

/// Whether `error` is, or was caused by, a [`DriverError`].
pub fn is_driver_error(error: &(dyn Error + 'static)) -> bool {
    find_driver_error(error).is_some()
}
