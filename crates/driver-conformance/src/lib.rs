//! The container driver contract as executable cases, with a runner and reports, for any driver.

mod case;
mod cli;
mod context;
mod coverage;
mod dial;
mod expect;
mod factory;
mod fnv;
mod glob;
mod groups;
mod ledger;
mod lines;
mod report;
mod rules;
mod runner;
mod timing;
mod tracked;
mod workload;

pub use case::{Case, CaseError, CaseResult, Failure};
pub use cli::{conclude, main};
pub(crate) use context::Context;
pub use coverage::coverage_table;
pub use dial::dial_host;
pub use factory::{DriverFactory, OpenOptions, Registry, SuppliedImage, Unavailable};
pub use groups::cases;
pub use report::{
    CaseReport, Details, DriverReport, Format, Outcome, Report, RunStatus, Summary, Timing, read_reports,
};
pub use rules::{Rule, rules};
