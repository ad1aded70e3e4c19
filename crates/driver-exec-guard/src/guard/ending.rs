//! Ending the tree: TERM, a grace time, then KILL until no descendant is left.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::tree;

/// Between TERM and KILL.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How often the tree is looked at while it ends; the end of a child wakes the guard as well.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// When killing is given up: something of the tree belongs to another user, or hangs in the kernel.
const GIVE_UP: Duration = Duration::from_secs(10);

/// A tree that is being ended.
pub(super) struct Ending {
    kill_at: Instant,
    give_up_at: Instant,
}

impl Ending {
    /// Begins with TERM, or with KILL where there is no grace.
    pub(super) fn begin(now: Instant, grace: Duration) -> Self {
        if !grace.is_zero() {
            // An unreadable /proc shows again at the next step, and ends there.
            let _ = tree::signal(Signal::TERM);
        }
        Self {
            kill_at: now + grace,
            give_up_at: now + grace + GIVE_UP,
        }
    }

    /// No more grace.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.kill_at = self.kill_at.min(now);
    }

    /// Goes on. `Some(true)`: the tree is gone; `Some(false)`: it cannot be killed.
    pub(super) fn step(&self, now: Instant) -> Option<bool> {
        match tree::descendants() {
            Ok(pids) if pids.is_empty() => return Some(true),
            Ok(_) => {}
            Err(_) => return Some(false),
        }
        if now >= self.give_up_at {
            return Some(false);
        }
        if now >= self.kill_at && tree::kill().is_err() {
            return Some(false);
        }
        None
    }
}
