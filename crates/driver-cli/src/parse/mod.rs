//! Values of the command line, in the notation of Docker.

mod env;
mod mount;
mod port;
mod size;
mod time;

pub(crate) use env::{env_file, env_pairs, key_value};
pub(crate) use mount::{tmpfs, volume};
pub(crate) use port::{extra_host, port};
pub(crate) use size::size_mib;
pub(crate) use time::{duration, instant};
