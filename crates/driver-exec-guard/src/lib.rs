//! The protocol between a driver and the exec guard, the small static program that it runs inside containers.
//!
//! A process of an exec must end when it is told to, with its whole tree, and when its driver is gone; the Docker Engine
//! API cannot end it at all, and the kernel knows no trees of processes. So every exec runs under the guard (`src/guard/`,
//! feature `guard`): a child subreaper that starts the wanted program, forwards its streams, keeps its time-out and kills
//! its whole tree when it is told to, or when its control stream ends because the driver is gone. `driver-docker` runs
//! it as a program; the shim of `driver-local` becomes it.
//!
//! [`Command`]s travel to the guard's stdin, [`Report`]s come from its stdout. Both are frames: one byte of kind, four
//! bytes of length (big endian), payload. The workload has pipes of its own and never holds the guard's stdout, so it
//! cannot forge a report.
//!
//! Flow control is by credit in both directions, [`WINDOW`] bytes at first, so that both sides always read their
//! connection, buffers are bounded, and a kill or an exit is never stuck behind data that nobody reads.
//!
//! ```
//! use driver_exec_guard::{Command, Decoder, Frame};
//!
//! let mut wire = Vec::new();
//! Command::Signal(15).encode(&mut wire);
//! let mut decoder = Decoder::default();
//! decoder.push(&wire);
//! assert_eq!(decoder.decode::<Command>(), Ok(Some(Command::Signal(15))));
//! assert_eq!(decoder.decode::<Command>(), Ok(None));
//! ```

#[cfg(feature = "client")]
pub mod client;
mod frame;
#[cfg(all(feature = "guard", target_os = "linux"))]
pub mod guard;
mod message;
#[cfg(target_os = "linux")]
pub mod stat;

pub use frame::{Broken, Decoder, Frame, MAX_PAYLOAD};
pub use message::{Command, Report};

/// What the first report says; a guard of another version is refused.
pub const VERSION: u8 = 1;

/// Bytes that each side may have under way before the other has granted more: of stdin one way, of stdout and stderr
/// together the other way.
pub const WINDOW: usize = 256 * 1024;

/// The exit code of a guard that could not do its work at all; it then says why in a report.
pub const FAILED: u8 = 125;
