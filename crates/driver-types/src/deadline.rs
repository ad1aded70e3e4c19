//! Deadlines of operations.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Operation;

/// How long each operation of a driver may take. What is not set has the default of the operation table.
///
/// An operation that passes its deadline fails with `TIMEOUT_ERROR`, which names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deadlines(BTreeMap<Operation, Option<Duration>>);

impl Deadlines {
    /// Sets the deadline of one operation; `None` for no deadline.
    #[must_use]
    pub fn with(mut self, operation: Operation, deadline: Option<Duration>) -> Self {
        self.0.insert(operation, deadline);
        self
    }

    /// The deadline of an operation.
    pub fn get(&self, operation: Operation) -> Option<Duration> {
        self.0
            .get(&operation)
            .copied()
            .unwrap_or(operation.info().deadline)
    }
}
