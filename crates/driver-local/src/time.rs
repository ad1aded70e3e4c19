//! The wall clock, as the contract counts it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    now().0
}

/// Milliseconds since the epoch, and the nanoseconds after them.
pub(crate) fn now() -> (u64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    (millis, since.subsec_nanos() % 1_000_000)
}
