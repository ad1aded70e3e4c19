//! The container driver contract: one async trait, [`ContainerDriver`], for running untrusted code in containers.
//!
//! The same trait is implemented on Docker, on a daemonless Linux runtime and on mocks; one conformance suite proves
//! that they behave alike. This crate holds what all of them share: the wire types (JSON, camelCase), the
//! [state table](ContainerStatus::transition), [`Capabilities`] and the [operation table](Operation). It has no
//! runtime, no driver and no validator; those are crates of their own.
//!
//! ```
//! use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, ExecSpec, Result};
//!
//! /// Works with any driver.
//! async fn answer(driver: &dyn ContainerDriver) -> Result<String> {
//!     let config = ContainerConfig::new("session-1", "python:3.13").command(["sleep", "60"]);
//!     let container = driver.create_container(&config).await?;
//!     driver.start_container(&container.id).await?;
//!     let result = driver.exec(&container.id, &ExecSpec::new(["python", "-c", "print(40 + 2)"])).await?;
//!     driver.force_remove(&container.id).await?;
//!     Ok(result.stdout.to_text())
//! }
//! ```
//!
//! Features: `schema` derives JSON Schemas (schemars) for every wire type.

mod capability;
mod config;
mod data;
mod deadline;
mod driver;
mod env;
mod event;
mod exec;
mod ext;
mod health;
mod image;
mod instance;
pub mod labels;
mod linux_capability;
mod logs;
mod mount;
mod network;
mod operation;
mod options;
mod plan;
mod port;
mod process;
mod recovery;
mod resources;
mod security;
mod signal;
mod state_table;
mod stats;
mod status;
mod volume;

pub use capability::{Capabilities, Capability, Support, SupportLevel};
pub use config::{ContainerConfig, Labels, PullPolicy};
pub use data::Data;
pub use deadline::Deadlines;
pub use driver::{BoxStream, ByteStream, ContainerDriver};
pub use driver_errors::{
    DriverError, ErrorGroup, ErrorKind, Result, Violation, find_driver_error, is_driver_error,
};
pub use env::Env;
pub use event::{Event, EventFilter, EventKind};
pub use exec::{ExecResult, ExecSpec, ProcessExit, ProcessFrame, TerminalSize};
pub use ext::ContainerDriverExt;
pub use health::{
    ContainerHealth, DriverHealth, DriverStatus, HealthCheckConfig, HealthCheckRun, HealthStatus,
};
pub use image::{Image, ImportOptions, PullProgress, PullRequest, RegistryAuth};
pub use instance::{ContainerInstance, NetworkAddress};
pub use logs::{LogFrame, LogOptions, OutputStream};
pub use mount::{MountType, TmpfsMount, VolumeMount};
pub use network::{Network, NetworkConfig};
pub use operation::{Operation, OperationInfo, Repeat};
pub use options::{ContainerFilter, RemoveOptions, ShutdownMode, StopOptions, WaitCondition};
pub use plan::{CheckStatus, Plan, PlanItem, Preflight, PreflightCheck};
pub use port::{PortMapping, PortProtocol, PublishedPort};
pub use process::{FrameStream, ProcessControl, ProcessHandle};
pub use recovery::{
    ObjectKind, ObjectRef, ReapFailure, ReapPolicy, ReapReason, ReapReport, Reaped, RecoveryReport,
};
pub use resources::{Enforcement, ResourceLimits};
pub use security::{LinuxCapabilities, SeccompProfile, SecurityOptions};
pub use signal::Signal;
pub use state_table::{Action, Transition};
pub use stats::{BlockIoStats, ContainerStats, CpuStats, MemoryStats, NetworkStats, PidsStats};
pub use status::{ContainerState, ContainerStatus, ExitInfo, ExitReason};
pub use volume::{Volume, VolumeConfig};

/// The examples of the usage page compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/USAGE_PATTERNS.md")]
struct UsagePatterns;

/// The examples of the page on errors compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/ERROR_HANDLING.md")]
struct ErrorHandling;
