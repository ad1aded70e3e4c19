//! Descriptors on tokio's reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor.
///
/// tokio's safe function is deprecated because a type may lie about the descriptor that it has. An `OwnedFd` does not: it is
/// valid, and nobody else's, for as long as it lives.
///
/// # Errors
///
/// The descriptor cannot be polled.
pub(crate) fn register(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[allow(deprecated, reason = "sound for an OwnedFd; the other function is unsafe")]
    AsyncFd::with_interest(descriptor, interest)
}
