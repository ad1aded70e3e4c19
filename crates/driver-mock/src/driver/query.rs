//! Looking: containers, logs, health, and waiting for an end.

use std::sync::Arc;

use driver_types::{
    BoxStream, ContainerFilter, ContainerInstance, ContainerStatus, DriverError, DriverHealth, DriverStatus,
    ExitInfo, HealthStatus, LogFrame, LogOptions, OutputStream, Result, WaitCondition,
};
use futures_util::{StreamExt, stream};

use super::MockDriver;
use super::lifecycle::removed_exit;
use crate::script::Lie;
use crate::world::{Entry, MainOutput, locked};

impl MockDriver {
    pub(super) fn do_get(&self, id: &str) -> Option<ContainerInstance> {
        let instance = self.world.containers.get(self.scope(), id)?;
        (!self.forgets(&instance)).then(|| self.shown(&instance))
    }

    fn shown(&self, instance: &ContainerInstance) -> ContainerInstance {
        let mut shown = instance.clone();
        if self.lies(Lie::AlwaysHealthy)
            && let Some(health) = &mut shown.health
        {
            health.status = HealthStatus::Healthy;
        }
        shown
    }

    pub(super) fn do_list(&self, filter: &ContainerFilter) -> Vec<ContainerInstance> {
        let everything = ContainerFilter::default();
        let filter = if self.lies(Lie::IgnoreFilters) {
            &everything
        } else {
            filter
        };
        let instances = self.world.containers.list(self.scope(), filter);
        let mut shown: Vec<ContainerInstance> = instances
            .iter()
            .filter(|instance| !self.forgets(instance))
            .map(|instance| self.shown(instance))
            .collect();
        if self.lies(Lie::ListNewestFirst) {
            shown.reverse();
        }
        shown
    }

    pub(super) async fn do_logs(&self, id: &str, options: &LogOptions) -> Result<String> {
        driver_validation::validate_log_options(options)?;
        let sandbox = self.sandbox(id)?;
        let (entries, _) = self.entries(&sandbox.container.output, options);
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_frame(options.timestamps).data.0)
            .collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn entries(&self, output: &MainOutput, options: &LogOptions) -> (Vec<Entry>, u64) {
        let (mut entries, next) = output.read(options);
        if self.lies(Lie::LoseLastLogLine) {
            entries.pop();
        }
        if self.lies(Lie::MixUpStreams) {
            entries
                .iter_mut()
                .for_each(|entry| entry.stream = OutputStream::Stdout);
        }
        (entries, next)
    }

    pub(super) async fn do_stream_logs(&self, id: &str, options: &LogOptions) -> Result<BoxStream<LogFrame>> {
        driver_validation::validate_stream_log_options(options)?;
        let sandbox = self.sandbox(id)?;
        let output = Arc::clone(&sandbox.container.output);
        let (entries, next) = self.entries(&output, options);
        let options = *options;
        let frame = move |entry: Entry| Ok(entry.to_frame(options.timestamps));
        let first = stream::iter(entries.into_iter().map(frame));
        if !options.follow {
            return Ok(Box::pin(first));
        }
        let rest = stream::unfold((output, next), move |(output, mut next)| async move {
            let entries = output.follow(&mut next).await;
            if entries.is_empty() {
                return None;
            }
            let passing: Vec<Result<LogFrame>> = entries
                .into_iter()
                .filter(|entry| entry.passes(&options))
                .map(frame)
                .collect();
            Some((stream::iter(passing), (output, next)))
        });
        Ok(Box::pin(first.chain(rest.flatten())))
    }

    pub(super) fn do_health(&self) -> DriverHealth {
        let down = self.world.calls.is_down();
        DriverHealth {
            status: if down {
                DriverStatus::Unhealthy
            } else {
                DriverStatus::Healthy
            },
            checked_at: self.world.clock.now_ms(),
            latency_ms: 0,
            engine: (!down).then(|| format!("{} {}", self.world.profile.engine(), env!("CARGO_PKG_VERSION"))),
            error: down.then(|| crate::world::unreachable_engine().to_string()),
        }
    }

    pub(super) fn do_is_healthy(&self, id: &str) -> Result<bool> {
        let (_, instance) = self.find(id)?;
        let unhealthy = |instance: &ContainerInstance| {
            instance
                .health
                .as_ref()
                .is_some_and(|health| health.status == HealthStatus::Unhealthy)
        };
        let lies = self.lies(Lie::AlwaysHealthy);
        Ok(lies || (instance.status == ContainerStatus::Running && !unhealthy(&instance)))
    }

    pub(super) async fn do_wait(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        let (sandbox, _) = self.find(id)?;
        let container = &sandbox.container;
        loop {
            let changed = container.changed.notified();
            let instance = self.world.containers.get(driver_state::Scope::All, id);
            let Some(instance) = instance else {
                let last = locked(&container.last_exit).clone();
                return Ok(last.unwrap_or_else(|| removed_exit(self.world.clock.now_ms())));
            };
            let ended = until == WaitCondition::Exited && instance.status.has_ended();
            match &instance.exit {
                Some(exit) if ended => return Ok(exit.clone()),
                None if self.lies(Lie::WaitReturnsEarly) => {
                    return Ok(removed_exit(self.world.clock.now_ms()));
                }
                _ => {}
            }
            tokio::select! {
                () = changed => {}
                () = self.unreachable() => return Err(DriverError::network("the connection to the simulated engine broke")),
            }
        }
    }

    /// Ends when the engine goes down.
    async fn unreachable(&self) {
        let mut down = self.world.down.subscribe();
        let _ = down.wait_for(|down| *down).await.is_ok();
    }
}
