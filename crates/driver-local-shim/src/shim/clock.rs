//! Times and identities that a record needs.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Pid;

/// Epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When a process was started, in clock ticks after boot.
pub(crate) fn start_time(pid: Pid) -> io::Result<u64> {
    driver_local_shim::start_time(pid.as_raw_nonzero().get())
}

/// How a process has ended that nobody has reaped yet, as wait(2) has it. The kernel tells only root.
pub(crate) fn zombie_status(pid: Pid) -> Option<i32> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let status = driver_local_shim::zombie_status(pid.as_raw_nonzero().get());
    status.ok().flatten()
}
