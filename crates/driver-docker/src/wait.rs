//! `wait_container`: woken by the event stream, decided by what the engine says of the container.
//!
//! The engine's own wait answers at once with 0 for a container that never ran, forgets a removed one, and holds a
//! connection for each waiter. Here all waiters share the one stream; while that is away they poll.

use std::sync::Arc;
use std::time::Duration;

use driver_types::{DriverError, ExitInfo, ExitReason, Operation, Result, WaitCondition};
use tokio::time::Instant;

use crate::engine::{Engine, is_full_id};
use crate::oom::see_run;
use crate::time::now_ms;
use crate::wire::Inspect;
use crate::{instance, watch};

/// Between two looks while the stream is live: it should have woken the waiter.
const SAFETY_POLL: Duration = Duration::from_secs(5);
const FIRST_POLL: Duration = Duration::from_millis(20);
const LONGEST_POLL: Duration = Duration::from_secs(1);
/// How long an engine may be away before the waiter gives up: a restart after a crash takes about 12 s.
const AWAY_LIMIT: Duration = Duration::from_secs(60);

/// Waits until a run has ended, or the container is gone.
pub(crate) async fn wait_container(engine: &Arc<Engine>, id: &str, until: WaitCondition) -> Result<ExitInfo> {
    let operation = Operation::WaitContainer;
    if !is_full_id(id) {
        return Err(DriverError::container_not_found(id));
    }
    watch::begin(engine);
    let record = engine.records.of(id);
    let mut changes = record.watch();
    let mut seen = Seen::default();
    // Of another it is not known whether it exists: an engine that is away is told at once.
    let has_run = record.memory().last_run.is_some();
    let mut poll = FIRST_POLL;
    let mut away_since = None;
    loop {
        // Before the question: what happens while it is asked wakes at once.
        changes.mark_unchanged();
        match engine.find(operation, id).await {
            Ok(Some(inspect)) => {
                away_since = None;
                let memory = see_run(engine, &record, &inspect);
                if let Some(exit) = seen.look(&inspect, &memory, until) {
                    return Ok(exit);
                }
            }
            Ok(None) if seen.anything => return Ok(seen.gone(until)),
            Ok(None) => {
                engine.records.forget(id);
                return Err(DriverError::container_not_found(id));
            }
            Err(error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                let is_known = seen.anything || has_run;
                if !is_known || !error.is_retryable() || since.elapsed() > AWAY_LIMIT {
                    return Err(error);
                }
            }
        }
        let pause = if engine.records.is_live() {
            SAFETY_POLL
        } else {
            poll
        };
        poll = (poll * 2).min(LONGEST_POLL);
        // An error means a change as well: the record was given up.
        let _ = tokio::time::timeout(pause, changes.changed()).await;
        if engine.is_shut_down() {
            return Err(DriverError::network("the driver was shut down").permanent());
        }
    }
}

/// What a waiter has seen of its container.
#[derive(Debug, Default)]
struct Seen {
    anything: bool,
    /// The start time of the run that is waited for.
    run: Option<String>,
    last_exit: Option<ExitInfo>,
}

impl Seen {
    /// The answer, if the container now gives it.
    fn look(
        &mut self,
        inspect: &Inspect,
        memory: &crate::records::Memory,
        until: WaitCondition,
    ) -> Option<ExitInfo> {
        self.anything = true;
        let status = instance::status(inspect, memory);
        self.last_exit = instance::exit(inspect, memory);
        if until == WaitCondition::Removed {
            return None;
        }
        if self.last_exit.is_some() {
            return self.last_exit.clone();
        }
        if status == driver_types::ContainerStatus::Dead {
            return Some(unknown(ExitReason::Unknown));
        }
        let run = status.is_alive().then(|| inspect.state.started_at.clone());
        let is_another = self.run.is_some() && run.is_some() && self.run != run;
        if is_another {
            // It ended and was started again between two looks.
            return Some(
                memory
                    .last_death
                    .clone()
                    .unwrap_or_else(|| unknown(ExitReason::Unknown)),
            );
        }
        self.run = run.or(self.run.take());
        None
    }

    /// The answer of a container that is gone.
    fn gone(&mut self, until: WaitCondition) -> ExitInfo {
        match self.last_exit.take() {
            Some(exit) if until == WaitCondition::Removed => exit,
            _ => unknown(ExitReason::Removed),
        }
    }
}

fn unknown(reason: ExitReason) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: None,
        reason,
        finished_at: now_ms(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Memory;

    fn inspect(status: &str, started_at: &str) -> Inspect {
        let mut inspect = Inspect::default();
        inspect.state.status = status.into();
        inspect.state.started_at = started_at.into();
        inspect.state.finished_at = "2026-01-01T00:00:09Z".into();
        inspect
    }

    const NEVER: &str = "0001-01-01T00:00:00Z";
    const FIRST: &str = "2026-01-01T00:00:01Z";
    const SECOND: &str = "2026-01-01T00:00:02Z";

    #[test]
    fn a_container_that_never_ran_has_not_exited() {
        let mut seen = Seen::default();
        let memory = Memory::default();
        assert_eq!(
            seen.look(&inspect("created", NEVER), &memory, WaitCondition::Exited),
            None
        );
        assert_eq!(
            seen.look(&inspect("running", FIRST), &memory, WaitCondition::Exited),
            None
        );
        let exit = seen.look(&inspect("exited", FIRST), &memory, WaitCondition::Exited);
        assert_eq!(exit.map(|exit| exit.reason), Some(ExitReason::Exited));
    }

    #[test]
    fn a_run_that_was_replaced_between_two_looks_has_ended() {
        let mut seen = Seen::default();
        let memory = Memory::default();
        assert_eq!(
            seen.look(&inspect("running", FIRST), &memory, WaitCondition::Exited),
            None
        );
        let exit = seen.look(&inspect("running", SECOND), &memory, WaitCondition::Exited);
        assert_eq!(exit.map(|exit| exit.reason), Some(ExitReason::Unknown));
    }

    #[test]
    fn removed_tells_the_exit_of_the_last_run() {
        let mut seen = Seen::default();
        let memory = Memory::default();
        assert_eq!(
            seen.look(&inspect("exited", FIRST), &memory, WaitCondition::Removed),
            None
        );
        assert_eq!(seen.gone(WaitCondition::Removed).reason, ExitReason::Exited);
        assert_eq!(
            seen.look(&inspect("running", SECOND), &memory, WaitCondition::Removed),
            None
        );
        assert_eq!(seen.gone(WaitCondition::Removed).reason, ExitReason::Removed);
    }
}
