//! The container driver contract on the Docker Engine API (Docker and Podman).

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
mod exec_pump;
mod exec_session;
mod exec_stream;
mod failure;
mod guard;
mod health;
mod host;
mod images;
mod instance;
mod lifecycle;
mod lines;
mod liveness;
mod log_decoder;
mod logs;
mod mux;
mod naming;
mod networks;
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
