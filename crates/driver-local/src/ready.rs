//! Waiting until a descriptor can be read or written.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime.
///
/// # Errors
///
/// The descriptor cannot be polled, for example because it is a file.
// tokio deprecates its safe constructors for types whose descriptor may change under it. An `OwnedFd` cannot.
#[allow(deprecated)]
pub(crate) fn owned(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
