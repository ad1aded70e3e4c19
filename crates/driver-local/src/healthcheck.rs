//! Health checks: the config's, else the image's, run inside the container from its start to its end. What they found
//! is kept in memory, by the driver that started the container or found it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use driver_state::HealthTracker;
use driver_types::{
    ContainerHealth, ExecResult, ExecSpec, HealthCheckConfig, HealthCheckRun, HealthStatus, Result, Signal,
};
use tokio::task::AbortHandle;

use crate::container::Container;
use crate::spec::Spec;

/// How long the end of a container may be told after it has killed a check.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A run of a container, as its health check needs it. It does not keep the driver alive.
#[async_trait]
pub(crate) trait CheckedRun: Send + Sync + 'static {
    /// Runs a process in it; see [`exec::start`](crate::exec::start).
    async fn exec(&self, spec: &ExecSpec) -> Result<ExecResult>;

    /// Waits for its end.
    async fn ended(&self);

    /// Hears of a new verdict.
    fn changed(&self, status: HealthStatus);

    /// The time in epoch milliseconds.
    fn now_ms(&self) -> u64;
}

/// The health of all containers whose check runs here. Dropping it ends the checks.
#[derive(Debug, Default)]
pub(crate) struct HealthChecks {
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    /// The number of the run.
    run: u32,
    health: ContainerHealth,
    /// Ends the check.
    task: Option<AbortHandle>,
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        self.end_all();
    }
}

impl HealthChecks {
    /// Begins the checks of a container that runs, where it wants some. Does nothing for a run that is watched already.
    pub(crate) fn begin(&self, container: &Container, run: impl CheckedRun) {
        let Some((config, argv)) = wanted(&container.spec) else {
            return;
        };
        let Some(live) = container.live() else { return };
        let (id, number) = (container.id().to_owned(), live.number);
        let tracker = HealthTracker::new(config, live.started_at);
        let mut table = self.table.lock();
        if table.get(&id).is_some_and(|entry| entry.run == number) {
            return;
        }
        let entry = Entry {
            run: number,
            health: tracker.health(),
            task: None,
        };
        end(table.insert(id.clone(), entry));
        let watched = Watched {
            id: id.clone(),
            run: number,
            table: Arc::clone(&self.table),
            config: config.clone(),
            argv,
            tracker,
        };
        let task = tokio::spawn(watched.watch_over(run)).abort_handle();
        // The task needs the lock before it can change the entry.
        if let Some(entry) = table.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// The health of the last run of a container. One that is checked by another driver is `starting` here; absent
    /// without a check, before the first run, and after the end of a run that was not watched here.
    pub(crate) fn of(&self, container: &Container) -> Option<ContainerHealth> {
        let (config, _) = wanted(&container.spec)?;
        let run = container.story.run.as_ref()?;
        let table = self.table.lock();
        match table.get(container.id()).filter(|entry| entry.run == run.number) {
            Some(entry) => Some(entry.health.clone()),
            None => {
                let live = container.live()?;
                Some(HealthTracker::new(config, live.started_at).health())
            }
        }
    }

    /// Forgets a container that is removed.
    pub(crate) fn forget(&self, id: &str) {
        end(self.table.lock().remove(id));
    }

    /// Ends all checks. What they found stays.
    pub(crate) fn end_all(&self) {
        for entry in self.table.lock().values_mut() {
            if let Some(task) = entry.task.take() {
                task.abort();
            }
        }
    }
}

fn end(entry: Option<Entry>) {
    if let Some(task) = entry.and_then(|entry| entry.task) {
        task.abort();
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The check of a container and what it runs; absent where there is none or it is switched off.
fn wanted(spec: &Spec) -> Option<(&HealthCheckConfig, Vec<String>)> {
    let config = spec.config.healthcheck.as_ref();
    let config = config.or(spec.image.healthcheck.as_ref())?;
    let (kind, rest) = config.test.split_first()?;
    let argv: Vec<String> = match kind.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => ["/bin/sh", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain(rest.iter().cloned())
            .collect(),
        _ => return None,
    };
    (!argv.is_empty()).then_some((config, argv))
}

/// The checks of one run.
struct Watched {
    id: String,
    run: u32,
    table: Arc<Table>,
    config: HealthCheckConfig,
    argv: Vec<String>,
    tracker: HealthTracker,
}

impl Watched {
    async fn watch_over(mut self, run: impl CheckedRun) {
        tokio::select! {
            biased;
            () = run.ended() => {}
            () = self.check_again_and_again(&run) => {}
        }
    }

    async fn check_again_and_again(&mut self, run: &impl CheckedRun) {
        let interval = Duration::from_millis(self.config.interval_ms);
        loop {
            tokio::time::sleep(interval).await;
            if let Some(check) = self.check(run).await
                && let Some(status) = self.keep(check)
            {
                run.changed(status);
            }
        }
    }

    /// Runs one check; its exit code is -1 where it timed out or could not run. `None` where the container is frozen
    /// or has ended: that says nothing of its health.
    async fn check(&self, run: &impl CheckedRun) -> Option<HealthCheckRun> {
        let timeout = self.config.timeout_ms;
        let spec = ExecSpec::new(self.argv.iter().map(String::as_str))
            .timeout_ms(timeout)
            .max_output_bytes(HealthTracker::MAX_OUTPUT as u64);
        let started_at = run.now_ms();
        let (exit_code, output) = match run.exec(&spec).await {
            Ok(result) if result.timed_out => (
                -1,
                format!("the check took longer than {timeout} ms\n{}", printed(&result)),
            ),
            Ok(result) => {
                if result.signal == Some(Signal::KILL) {
                    // Killed with its container, perhaps; that is told a moment later, and ends all this.
                    tokio::time::sleep(END_LIMIT).await;
                }
                (result.exit_code, printed(&result))
            }
            Err(error) if matches!(error.code(), "INVALID_STATE" | "CONTAINER_NOT_FOUND") => return None,
            Err(error) => (-1, error.to_string()),
        };
        Some(HealthCheckRun {
            started_at,
            finished_at: run.now_ms(),
            exit_code,
            output,
        })
    }

    fn keep(&mut self, check: HealthCheckRun) -> Option<HealthStatus> {
        let changed = self.tracker.record(check);
        let mut table = self.table.lock();
        // Another run may have begun.
        let entry = table.get_mut(&self.id).filter(|entry| entry.run == self.run)?;
        entry.health = self.tracker.health();
        changed
    }
}

/// What a check printed.
fn printed(result: &ExecResult) -> String {
    format!("{}{}", result.stdout.to_text(), result.stderr.to_text())
}

#[cfg(test)]
mod tests;
