//! The program as its users see it: exit codes, stdout and stderr.

#![allow(clippy::unwrap_used)]

mod docker;
mod documents;
mod local;
mod mock;
mod support;
mod usage;
