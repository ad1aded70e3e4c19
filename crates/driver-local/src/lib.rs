//! The container driver contract on a bare Linux kernel, without a daemon.

mod attach;
mod container;
mod exec;
mod healthcheck;
mod journal;
mod layout;
mod options;
mod shim;
mod spec;

pub use options::LocalOptions;
