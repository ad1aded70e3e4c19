//! The container driver contract on the Docker Engine API (Docker and Podman).
//!
//! [`DockerDriver`] runs containers through an engine's socket. It keeps nothing on disk: the engine is the store, and
//! labels say what belongs to whom. `docs/docker-driver.md` tells what is native, what is emulated and why.
//!
//! ```no_run
//! use driver_docker::{DockerDriver, DockerOptions};
//! use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, Result};
//!
//! # async fn example() -> Result<()> {
//! let driver = DockerDriver::connect(DockerOptions::default().owner("agents"))?;
//! let config = ContainerConfig::new("session-1", "python:3.13").command(["python", "-c", "print(40 + 2)"]);
//! let container = driver.run_container(&config).await?;
//! let exit = driver.wait_exit(&container.id).await?;
//! println!("{:?}: {}", exit.reason, driver.get_container_logs(&container.id, &Default::default()).await?);
//! driver.force_remove(&container.id).await?;
//! # Ok(())
//! # }
//! ```
//!
//! - **Calls.** Every call has a deadline for the whole of it. State-changing calls run in tasks of their own: a dropped
//!   future is finished, and an unclaimed container is removed.
//! - **Reads.** `get_container` and `list_containers` answer from memory while the engine's event stream is open and
//!   nothing has happened to the container since it was last asked for; else the engine is asked.
//! - **Clones** of a driver share the connections, the cache and the order of calls.

mod attach;
mod capabilities;
mod client;
mod copy;
mod create;
mod driver;
mod engine;
mod error;
mod events;
mod exec;
mod exec_connection;
mod exec_session;
mod exec_stream;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod health;
mod host;
mod images;
mod instance;
mod kernel_log;
mod kernel_record;
mod lifecycle;
mod lines;
mod liveness;
mod log_decoder;
mod logs;
mod mux;
mod naming;
mod networks;
mod oom;
mod options;
mod plan;
mod preflight;
mod profile;
mod program;
mod query;
mod reap;
mod records;
mod recovery;
mod spec;
mod stats;
mod time;
mod update;
mod volumes;
mod wait;
mod watch;
mod wire;

pub use driver::DockerDriver;
pub use driver_errors::{DriverError, Result};
pub use host::Host;
pub use options::{DockerOptions, LogLimit};

/// The driver's name in errors, instances and endpoints.
const DRIVER_NAME: &str = "docker";
