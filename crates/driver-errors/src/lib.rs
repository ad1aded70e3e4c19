//! The one error type of the container driver contract.
//!
//! Every operation of every driver fails with a [`DriverError`]: a typed [`ErrorKind`], whether a retry can
//! help, the operation and driver it came from, context, the cause, and the error of a failed clean-up. Codes,
//! message forms and retry flags are those of the TypeScript package `@openagent/driver-interface` 1.0.0, so an
//! error can cross the wire in both directions.
//!
//! ```
//! use driver_errors::{DriverError, ErrorGroup};
//!
//! let error = DriverError::container_not_found("c1").with_operation("start_container");
//! assert_eq!(error.code(), "CONTAINER_NOT_FOUND");
//! assert_eq!(error.to_string(), "Container c1 not found");
//! assert_eq!(error.group(), ErrorGroup::Container);
//! assert!(!error.is_retryable());
//!
//! let json = serde_json::to_string(&error)?;
//! let read: DriverError = serde_json::from_str(&json)?;
//! assert_eq!(read, error);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! Where each rule comes from: contract section 4.

mod error;
mod group;
mod kind;
mod lookup;
mod violation;
mod wire;

pub use error::DriverError;
pub use group::ErrorGroup;
pub use kind::{ErrorKind, KindInfo, StatusList};
pub use lookup::{find_driver_error, is_driver_error};
pub use violation::Violation;

/// The result of every driver operation.
pub type Result<T, E = DriverError> = std::result::Result<T, E>;
