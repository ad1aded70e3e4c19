//! The container driver contract as executable cases, with a runner and reports, for any driver.
//!
//! A driver's author implements [`DriverFactory`] in `tests/conformance.rs` of the driver's crate (with
//! `harness = false` in its `Cargo.toml`) and calls [`main`]; `examples/third-party-driver` is such a crate. The
//! program then has the options `--driver`, `--require`, `--group`, `--case`, `--jobs`, `--format`, `--output` and
//! `--list`.
//!
//! - A **case** is `group::name`: a promise of the contract ([`rules`]), tried on a driver that is opened for an owner
//!   of the case alone. So cases run side by side. It passes, fails with what was expected and what came, or is
//!   skipped with a reason: a capability that the driver does not declare, or a hook that the factory does not have.
//! - The **leak ledger**: after a case, what it made is removed through the driver; whatever is left then (containers,
//!   volumes, networks, images, and what [`DriverFactory::host_objects`] sees) fails the case.
//! - The **workload** in the containers is one small static program, compiled at run time by `rustc` and imported as an
//!   image; its language is described in `docs/workload.md` of this crate. Simulators simulate that program.
//!
//! ```
//! // What is to be proven, without running anything:
//! let cases = driver_conformance::cases();
//! assert!(cases.iter().any(|case| case.id() == "stop::kills_after_timeout"));
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

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
mod loopback_registry;
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
pub use loopback_registry::LoopbackRegistry;
pub use report::{
    CaseReport, Details, DriverReport, Format, Outcome, Report, RunStatus, Summary, Timing, read_reports,
};
pub use rules::{Rule, rules};
