//! The state of a container driver in memory, without I/O: what drivers that keep their own books share.
//!
//! - [`ContainerStore`]: containers with indexes by id, owner, name, request id, session, status and label. Names and
//!   request ids are reserved before anything is built, so that of two racing creates exactly one wins.
//! - [`NamedStore`]: volumes and networks, and which containers use them.
//! - [`ResourceTracker`]: what is allocated of a fixed capacity, without leaks, double releases or rounding drift.
//! - [`KeyedMutex`]: state-changing calls on one container run one after another, in the order of arrival.
//! - [`HealthTracker`]: the verdict on a container from the runs of its health check.
//!
//! All of them are shared by cloning a handle, or by reference; none blocks for longer than a look-up takes.
//!
//! ```
//! use std::sync::Arc;
//!
//! use driver_state::{ContainerStore, Scope};
//! use driver_types::{Action, ContainerFilter, ContainerStatus};
//! # use driver_types::{ContainerInstance, Enforcement, Labels, ResourceLimits};
//! # fn instance(id: &str, name: &str, session: &str) -> ContainerInstance {
//! #     let status = ContainerStatus::Created;
//! #     ContainerInstance {
//! #         id: id.into(), name: name.into(), session_id: session.into(), image: "image".into(), image_digest: None,
//! #         status, state: status.state(), endpoint: String::new(), created_at: 0, started_at: None,
//! #         finished_at: None, exit: None, health: None, ports: vec![], addresses: vec![], labels: Labels::new(),
//! #         resources: ResourceLimits::default(), enforcement: Enforcement::default(), driver: "example".into(),
//! #         restarts: 0,
//! #     }
//! # }
//!
//! let store = ContainerStore::<()>::new();
//! let owner: Arc<str> = "default".into();
//!
//! let reservation = store.reserve(&owner, "web", None)?;
//! // Build the container here; dropping the reservation frees the name.
//! reservation.commit(instance("id-1", "web", "session-1"), ())?;
//! assert!(store.reserve(&owner, "web", None).is_err());
//!
//! let scope = Scope::Owner("default");
//! store.transition(scope, "id-1", Action::Start, |container| container.begin_run(1000))?;
//! let listed = store.list(scope, &ContainerFilter::session("session-1"));
//! assert_eq!(listed[0].status, ContainerStatus::Running);
//! # Ok::<(), driver_types::DriverError>(())
//! ```

// The tests' helpers name this crate as everybody else does.
#[cfg(test)]
extern crate self as driver_state;

mod health;
mod hold;
mod keyed_mutex;
mod map;
mod named;
#[cfg(test)]
mod races;
mod resources;
mod store;
mod sync;

pub use health::HealthTracker;
pub use hold::Hold;
pub use keyed_mutex::{KeyedGuard, KeyedMutex};
pub use named::{NamedObject, NamedStore};
pub use resources::{Allocation, ResourceAllocation, ResourceTracker, ResourceUsage, Utilisation};
pub use store::{Applied, Conflict, ContainerMut, ContainerStore, Record, Reservation, Scope};
