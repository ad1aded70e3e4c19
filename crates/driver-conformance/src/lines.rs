//! Reads what the workload program prints.

use crate::case::{CaseError, CaseResult, Failure};
use crate::expect;

/// The output of the workload program: `NAME=VALUE`, `NAME!ERRNO` and free lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lines(String);

/// How the kernel and the default profile say no.
const REFUSALS: [&str; 7] = ["EPERM", "EACCES", "EROFS", "ENOSYS", "ENOENT", "EMPTY", "KILLED"];

impl Lines {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }

    /// Whether there is exactly this line.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.iter().any(|found| found == line)
    }

    /// There is exactly this line.
    #[track_caller]
    pub(crate) fn expect_line(&self, line: &str) -> CaseResult {
        expect::that(format!("a line {line:?}"), self.has(line), &self.0)
    }

    /// The values of all lines `NAME=VALUE`.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// The value of the first line `NAME=VALUE`.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> Result<&str, CaseError> {
        let found = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| Failure::new(format!("a line {name}=..."), format!("{:?}", self.0)).into())
    }

    /// The value of the first line `NAME=VALUE`, as a number.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> Result<u64, CaseError> {
        let value = self.value(name)?;
        let broken = || Failure::new(format!("a number after {name}="), format!("{value:?}"));
        value.parse().map_err(|_| broken().into())
    }

    /// The value of the first line `NAME=VALUE` is this.
    #[track_caller]
    pub(crate) fn expect(&self, name: &str, value: &str) -> CaseResult {
        expect::equal(name, self.value(name)?, value)
    }

    /// The errno of the first line `NAME!ERRNO`.
    pub(crate) fn errno(&self, name: &str) -> Option<&str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('!'))
    }

    /// The command failed with this errno.
    #[track_caller]
    pub(crate) fn expect_errno(&self, name: &str, errno: &str) -> CaseResult {
        let found = self.errno(name) == Some(errno);
        expect::that(format!("a line \"{name}!{errno}\""), found, &self.0)
    }

    /// The command was refused by the kernel, in whichever way.
    #[track_caller]
    pub(crate) fn expect_refused(&self, name: &str) -> CaseResult {
        let refused = self.errno(name).is_some_and(|errno| REFUSALS.contains(&errno));
        expect::that(
            format!("{name} refused with one of {REFUSALS:?}"),
            refused,
            &self.0,
        )
    }
}
