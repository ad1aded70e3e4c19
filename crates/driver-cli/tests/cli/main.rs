//! The program as its users see it: exit codes, stdout and stderr.

#![allow(clippy::unwrap_used)]

mod documents;
mod support;
mod usage;
