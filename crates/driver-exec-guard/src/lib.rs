//! The protocol between `driver-docker` and the exec guard, the small static program that it runs inside containers.
//!
//! The Docker Engine API can start a process in a container, but not end it: there is no exec kill, and closing the
//! connection leaves the process alive. So every exec runs under the guard (`src/guard/`): a child subreaper that
//! starts the wanted program, forwards its streams, keeps its time-out and kills its whole tree when it is told to, or
//! when its control stream ends because the driver is gone.
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

mod frame;
mod message;

pub use frame::{Broken, Decoder, Frame, MAX_PAYLOAD};
pub use message::{Command, Report};

/// What the first report says; a guard of another version is refused.
pub const VERSION: u8 = 1;

/// Bytes that each side may have under way before the other has granted more: of stdin one way, of stdout and stderr
/// together the other way.
pub const WINDOW: usize = 256 * 1024;

/// The exit code of a guard that could not do its work at all; it then says why in a report.
pub const FAILED: u8 = 125;
