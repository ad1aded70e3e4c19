//! The container driver contract on a bare Linux kernel, without a daemon.

mod capability_sets;
mod container;
mod journal;
mod layout;
mod options;
mod seccomp;
mod shim;
mod spec;

pub use options::LocalOptions;
