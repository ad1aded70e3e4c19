//! The driver's side of the guard's protocol, over any connection: feature `client`.
//!
//! A driver connects to a guard in its own way, [`greet`]s it, and [`serve`]s the process; the answer is the contract's
//! [`ProcessHandle`](driver_types::ProcessHandle). [`collect`] reads such a handle to its end. What only the driver can
//! find out, how a process ended whose connection broke, it is asked by a function that it gives to [`serve`].

mod collect;
mod control;
mod greeting;
mod pump;

#[cfg(test)]
mod tests;

pub use collect::collect;
pub use control::serve;
pub use greeting::{Refusal, Session, arguments, greet};
pub use pump::killed;

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a guard: what is read are its reports and nothing else, what is written are commands.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for T {}
