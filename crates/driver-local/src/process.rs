//! The first process of a run, found again by number and start time, and signalled without a race; and the shim of a run,
//! found by its socket.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use driver_local_shim::{SOCKET, start_time};
use driver_types::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::process::{Pid, PidfdFlags, Signal as KernelSignal, pidfd_open, pidfd_send_signal};

use crate::journal::Run;

/// A descriptor of the process, if it is still the same one.
pub(crate) fn open(run: &Run) -> Option<OwnedFd> {
    let pid = Pid::from_raw(run.init_pid)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // After the descriptor was opened the number cannot be given to another process unnoticed.
    (start_time(run.init_pid).ok()? == run.init_start_time).then_some(descriptor)
}

/// Whether it has ended, and with it all processes of its pid namespace.
pub(crate) fn has_ended(run: &Run) -> bool {
    let Some(process) = open(run) else { return true };
    let now = Timespec::default();
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Sends a signal. Whether the process was still there.
///
/// # Errors
///
/// Those of the kernel.
pub(crate) fn signal(run: &Run, signal: Signal) -> Result<bool, Errno> {
    let Some(process) = open(run) else {
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
