//! Asserts of the cases. Each one says what was expected and what came; none panics.

use std::fmt::{Debug, Display};

use driver_types::DriverError;

use crate::case::{CaseError, CaseResult, Failure};

/// `got` equals `expected`.
#[track_caller]
pub(crate) fn equal<T: PartialEq<U> + Debug, U: Debug>(
    what: impl Display,
    got: T,
    expected: U,
) -> CaseResult {
    if got == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: {expected:?}"), format!("{got:?}")).into())
}

/// `got` differs from `other`.
#[track_caller]
pub(crate) fn differs<T: PartialEq + Debug>(what: impl Display, got: T, other: T) -> CaseResult {
    that(format!("{what} other than {other:?}"), got != other, &got)
}

/// The condition holds; `got` is what it was judged by.
#[track_caller]
pub(crate) fn that(expected: impl Display, condition: bool, got: impl Debug) -> CaseResult {
    if condition {
        return Ok(());
    }
    Err(Failure::new(expected.to_string(), format!("{got:?}")).into())
}

/// The text contains `part`.
#[track_caller]
pub(crate) fn contains(what: impl Display, text: &str, part: &str) -> CaseResult {
    that(
        format!("{what} that contains {part:?}"),
        text.contains(part),
        text,
    )
}

/// There is a value.
#[track_caller]
pub(crate) fn some<T>(what: impl Display, value: Option<T>) -> Result<T, CaseError> {
    value.ok_or_else(|| Failure::new(what.to_string(), "nothing").into())
}

/// The call failed with this code; returns the error for a closer look.
#[track_caller]
pub(crate) fn code<T: Debug>(result: Result<T, DriverError>, code: &str) -> Result<DriverError, CaseError> {
    match result {
        Err(error) if error.code() == code => Ok(error),
        Err(error) => Err(Failure::new(format!("error {code}"), format!("{error:?}")).into()),
        Ok(value) => Err(Failure::new(format!("error {code}"), format!("success: {value:?}")).into()),
    }
}

/// The call failed with this code, and a retry cannot help.
#[track_caller]
pub(crate) fn permanent<T: Debug>(
    result: Result<T, DriverError>,
    wanted: &str,
) -> Result<DriverError, CaseError> {
    let error = code(result, wanted)?;
    that(
        format!("{wanted} that is not retryable"),
        !error.is_retryable(),
        &error,
    )?;
    Ok(error)
}

/// The call failed with a configuration error that has a violation at this JSON pointer.
#[track_caller]
pub(crate) fn violation<T: Debug>(
    result: Result<T, DriverError>,
    pointer: &str,
) -> Result<DriverError, CaseError> {
    let error = permanent(result, "CONFIGURATION_ERROR")?;
    let pointers: Vec<_> = error
        .violation_list()
        .iter()
        .map(|found| found.pointer.as_str())
        .collect();
    that(
        format!("a violation at {pointer}"),
        pointers.contains(&pointer),
        &error,
    )?;
    Ok(error)
}

/// Ends the case as skipped.
pub(crate) fn skip<T>(reason: impl Into<String>) -> Result<T, CaseError> {
    Err(CaseError::Skipped(reason.into()))
}
