//! [`HealthTracker`]: what the runs of a health check say about a container.

use std::collections::VecDeque;

use driver_types::{ContainerHealth, HealthCheckConfig, HealthCheckRun, HealthStatus};

/// The health of one run of a container, judged as Docker does:
///
/// - it is `starting` until a check passes or too many fail;
/// - a check that passes makes it `healthy`, whatever was before;
/// - `retries` failures in a row make it `unhealthy`;
/// - while it is `starting`, failures of checks that began within the start period do not count.
#[derive(Clone, Debug)]
pub struct HealthTracker {
    retries: u32,
    grace_ends_at: u64,
    status: HealthStatus,
    failing_streak: u32,
    checks: VecDeque<HealthCheckRun>,
}

impl HealthTracker {
    /// How many runs of the check are kept.
    pub const HISTORY: usize = 5;
    /// How many bytes of a check's output are kept.
    pub const MAX_OUTPUT: usize = 4096;

    /// A run of the container that began at `started_at` (epoch milliseconds).
    pub fn new(config: &HealthCheckConfig, started_at: u64) -> Self {
        Self {
            retries: config.retries.max(1),
            grace_ends_at: started_at.saturating_add(config.start_period_ms),
            status: HealthStatus::Starting,
            failing_streak: 0,
            checks: VecDeque::with_capacity(Self::HISTORY),
        }
    }

    /// Takes the result of a check into account. The answer is the new status if it changed.
    pub fn record(&mut self, mut check: HealthCheckRun) -> Option<HealthStatus> {
        truncate(&mut check.output, Self::MAX_OUTPUT);
        let verdict = self.judge(&check);
        if self.checks.len() == Self::HISTORY {
            self.checks.pop_front();
        }
        self.checks.push_back(check);
        let changed = verdict != self.status;
        self.status = verdict;
        changed.then_some(verdict)
    }

    fn judge(&mut self, check: &HealthCheckRun) -> HealthStatus {
        if check.exit_code == 0 {
            self.failing_streak = 0;
            return HealthStatus::Healthy;
        }
        let in_grace = self.status == HealthStatus::Starting && check.started_at < self.grace_ends_at;
        if !in_grace {
            self.failing_streak = self.failing_streak.saturating_add(1);
        }
        if self.failing_streak >= self.retries {
            HealthStatus::Unhealthy
        } else {
            self.status
        }
    }

    /// The verdict.
    pub fn status(&self) -> HealthStatus {
        self.status
    }

    /// The verdict with the last checks, oldest first.
    pub fn health(&self) -> ContainerHealth {
        ContainerHealth {
            status: self.status,
            failing_streak: self.failing_streak,
            checks: self.checks.iter().cloned().collect(),
        }
    }
}

/// Cuts at a character boundary.
fn truncate(text: &mut String, max: usize) {
    let end = text.floor_char_boundary(max);
    text.truncate(end);
}
