//! The container driver contract on a bare Linux kernel, without a daemon.
//!
//! Nothing has to be installed: the program that makes and watches containers is part of this crate. Containers outlive
//! the application, and another driver on the same state directory finds them again.
//!
//! ```no_run
//! use driver_local::{LocalDriver, LocalOptions};
//! use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, WaitCondition};
//!
//! # async fn run() -> driver_types::Result<()> {
//! let driver = LocalDriver::open(LocalOptions::default())?;
//! let config = ContainerConfig::new("session-1", "host").command(["sh", "-c", "echo hello"]);
//! let container = driver.run_container(&config).await?;
//! let exit = driver.wait_container(&container.id, WaitCondition::Exited).await?;
//! assert_eq!(exit.exit_code, Some(0));
//! driver.force_remove(&container.id).await?;
//! # Ok(())
//! # }
//! ```
//!
//! `docs/local-driver.md` has what the host needs and what is guaranteed; `docs/local-driver-design.md` how it works.

mod attach;
mod cgroups;
mod container;
mod containers;
mod core;
mod create;
mod disk;
mod driver;
mod etc;
mod events;
mod exec;
mod exec_calls;
mod file_worker;
mod files;
mod healthcheck;
mod host;
mod id;
mod image_calls;
mod images;
mod instance;
mod journal;
mod landlock;
mod launch;
mod layout;
mod lifecycle;
mod lock;
mod logs;
mod lost;
mod mountpoints;
mod names;
mod networks;
mod object_calls;
mod options;
mod plan;
mod prepare;
mod process;
mod query;
mod ready;
mod reap;
mod recover;
mod rootless;
mod seccomp;
mod shim;
mod spec;
mod stats;
mod tarball;
mod time;
mod trash;
mod update;
mod volumes;
mod watcher;

pub use driver::LocalDriver;
pub use options::{DiskBackend, LocalOptions};

/// The driver's name.
pub(crate) const DRIVER_NAME: &str = "local";
