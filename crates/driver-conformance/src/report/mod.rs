//! What a run found, and the forms in which it is told.

mod json;
mod junit;
mod markdown;
mod merge;
mod pretty;

use std::time::Duration;

use driver_types::Capabilities;
use serde::{Deserialize, Serialize};

pub use merge::read_reports;

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The driver keeps the promise.
    Passed,
    /// It does not.
    Failed,
    /// It was not tried, for the reason given.
    Skipped,
}

/// One case on one driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseReport {
    /// `group::case`.
    pub id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed or was skipped.
    pub reason: Option<String>,
    /// With the clean-up, in milliseconds of real time: the waits of a simulated driver count nothing.
    pub duration_ms: u64,
}

impl CaseReport {
    pub(crate) fn new(id: &str, outcome: Outcome, reason: Option<String>, duration: Duration) -> Self {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: id.to_owned(),
            outcome,
            reason,
            duration_ms,
        }
    }

    /// The part of the id before `::`.
    pub fn group(&self) -> &str {
        self.id.split("::").next().unwrap_or_default()
    }
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Kept promises.
    pub passed: usize,
    /// Broken ones.
    pub failed: usize,
    /// Not tried.
    pub skipped: usize,
}

impl Summary {
    /// Counts outcomes.
    pub fn of<'a>(cases: impl IntoIterator<Item = &'a CaseReport>) -> Self {
        let mut summary = Self::default();
        for case in cases {
            match case.outcome {
                Outcome::Passed => summary.passed += 1,
                Outcome::Failed => summary.failed += 1,
                Outcome::Skipped => summary.skipped += 1,
            }
        }
        summary
    }

    /// The cases that were tried.
    pub fn ran(&self) -> usize {
        self.passed + self.failed
    }
}

/// Whether a driver could be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// It was.
    Ran,
    /// It cannot run on this machine.
    Unavailable,
}

/// One driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriverReport {
    /// The factory's name.
    pub name: String,
    /// The driver's version; empty where it is unavailable.
    pub version: String,
    /// Whether it could be tried.
    pub status: RunStatus,
    /// Why not; or what went wrong outside of the cases.
    pub reason: Option<String>,
    /// The counts.
    pub summary: Summary,
    /// The cases, in the order of the suite.
    pub cases: Vec<CaseReport>,
    /// What only the comparison of drivers needs. The reports of test programs have it, the final report does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// More about a driver, for the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// What it declares.
    pub capabilities: Capabilities,
    /// What its operations cost.
    pub timings: Vec<Timing>,
}

/// What an operation costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// The name of the operation.
    pub operation: String,
    /// The median in microseconds of real time.
    pub median_micros: u64,
    /// How many calls.
    pub samples: usize,
}

impl Timing {
    pub(crate) fn of(operation: &str, mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        let median_micros = samples.get(samples.len() / 2).copied().unwrap_or_default();
        Self {
            operation: operation.to_owned(),
            median_micros,
            samples: samples.len(),
        }
    }
}

impl DriverReport {
    pub(crate) fn unavailable(name: &str, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            version: String::new(),
            status: RunStatus::Unavailable,
            reason: Some(reason),
            summary: Summary::default(),
            cases: Vec::new(),
            details: None,
        }
    }

    pub(crate) fn ran(name: &str, version: &str, cases: Vec<CaseReport>, details: Details) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            status: RunStatus::Ran,
            reason: None,
            summary: Summary::of(&cases),
            cases,
            details: Some(details),
        }
    }
}

/// All drivers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One a driver.
    pub drivers: Vec<DriverReport>,
    /// The counts over all of them.
    pub summary: Summary,
}

impl Report {
    /// Sums up.
    pub fn of(drivers: Vec<DriverReport>) -> Self {
        let summary = Summary::of(drivers.iter().flat_map(|driver| &driver.cases));
        Self { drivers, summary }
    }

    /// Why the run as a whole is no success; empty: it is one. `required` are names of drivers.
    pub fn problems(&self, required: &[String]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.summary.failed > 0 {
            problems.push(format!("{} cases failed", self.summary.failed));
        }
        for driver in self
            .drivers
            .iter()
            .filter(|driver| driver.status == RunStatus::Ran)
        {
            problems.extend(
                driver
                    .reason
                    .as_ref()
                    .map(|reason| format!("{}: {reason}", driver.name)),
            );
        }
        for name in required {
            match self.drivers.iter().find(|driver| driver.name == *name) {
                Some(driver) if driver.status == RunStatus::Ran => {}
                Some(driver) => {
                    let reason = driver.reason.as_deref().unwrap_or_default();
                    problems.push(format!("required driver {name} is unavailable: {reason}"));
                }
                None => problems.push(format!("required driver {name} is not in the run")),
            }
        }
        if self.summary.ran() == 0 {
            problems.push("no case ran".to_owned());
        }
        problems
    }

    /// The report in a form.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Pretty => pretty::render(self),
            Format::Json => json::render(self),
            Format::Junit => junit::render(self),
            Format::Markdown => markdown::render(self),
        }
    }
}

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: a table, then the failures.
    Pretty,
    /// For programs.
    Json,
    /// For continuous integration.
    Junit,
    /// The comparison of drivers.
    Markdown,
}
