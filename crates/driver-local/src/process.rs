//! The first process of a run, found again by number and start time, and signalled without a race; and the shim of a run,
//! found by its socket.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use driver_local_shim::{SOCKET, start_time};
use driver_types::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::process::{Pid, PidfdFlags, Signal as KernelSignal, pidfd_open, pidfd_send_signal};

use crate::journal::Init;

/// A descriptor of the process, if it is still the same one.
pub(crate) fn open(init: &Init) -> Option<OwnedFd> {
    let pid = Pid::from_raw(init.pid).filter(|_| init.boot_id == boot_id())?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // After the descriptor was opened the number cannot be given to another process unnoticed.
    (start_time(init.pid).ok()? == init.start_time).then_some(descriptor)
}

/// Whether it has ended, and with it all processes of its pid namespace.
pub(crate) fn has_ended(init: &Init) -> bool {
    ends_within(init, Duration::ZERO)
}

/// Likewise, or does so in this time. Blocks until then.
pub(crate) fn ends_within(init: &Init, limit: Duration) -> bool {
    let Some(process) = open(init) else { return true };
    let limit = Timespec::try_from(limit).ok();
    let ready = || poll(&mut [PollFd::new(&process, PollFlags::IN)], limit.as_ref());
    rustix::io::retry_on_intr(ready).is_ok_and(|ready| ready > 0)
}

/// Sends a signal. Whether the process was still there.
///
/// # Errors
///
/// Those of the kernel.
pub(crate) fn signal(init: &Init, signal: Signal) -> Result<bool, Errno> {
    let Some(process) = open(init) else {
        return Ok(false);
    };
    let signal = KernelSignal::from_named_raw(signal.number()).ok_or(Errno::INVAL)?;
    match pidfd_send_signal(process, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A descriptor of the shim that listens in a container's directory: ready to be read when it has ended.
///
/// # Errors
///
/// There is none, or it does not take connections.
pub(crate) fn shim(container: &Path) -> io::Result<OwnedFd> {
    let shim = listener(container)?;
    let descriptor = pidfd_open(shim, PidfdFlags::empty())?;
    // It listens still, so the number has not been given to another process.
    match listener(container)? == shim {
        true => Ok(descriptor),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The kernel tells who connects which process listens.
fn listener(container: &Path) -> io::Result<Pid> {
    // The path of a socket may have 107 bytes only.
    let container = File::open(container)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", container.as_raw_fd()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(sockopt::socket_peercred(&socket)?.pid)
}

/// Which boot of the machine this is.
pub(crate) fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    })
}
