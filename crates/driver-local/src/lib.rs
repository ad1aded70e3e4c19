//! The container driver contract on a bare Linux kernel, without a daemon.

mod container;
mod images;
mod journal;
mod layout;
mod options;
mod rootfs;
mod shim;
mod spec;

pub use options::LocalOptions;
