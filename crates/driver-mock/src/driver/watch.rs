//! Readings of what a container uses.

use std::time::Duration;

use driver_types::{
    BlockIoStats, BoxStream, ContainerConfig, ContainerStats, ContainerStatus, CpuStats, DriverError,
    MemoryStats, PidsStats, Result,
};
use futures_util::stream;

use super::MockDriver;
use crate::Profile;
use crate::kernel::MIB;
use crate::script::Lie;
use crate::world::{Sandbox, locked};

impl MockDriver {
    pub(super) fn do_stats(&self, id: &str) -> Result<ContainerStats> {
        let (sandbox, instance) = self.find(id)?;
        reading(&sandbox).ok_or_else(|| {
            DriverError::invalid_state(
                id,
                instance.status,
                [ContainerStatus::Running, ContainerStatus::Paused],
            )
        })
    }

    pub(super) fn do_stream_stats(&self, id: &str, interval_ms: u64) -> Result<BoxStream<ContainerStats>> {
        driver_validation::validate_stats_interval(interval_ms)?;
        let first = self.do_stats(id)?;
        let sandbox = self.sandbox(id)?;
        let run = sandbox.container.output.runs.get().begun;
        let state = (sandbox, Some(first));
        Ok(Box::pin(stream::unfold(
            state,
            move |(sandbox, first)| async move {
                if let Some(first) = first {
                    return Some((Ok(first), (sandbox, None)));
                }
                let over = sandbox.container.output.runs.wait_for_end(run);
                let interval = Duration::from_millis(interval_ms);
                if sandbox.world.clock.limit(Some(interval), over).await.is_some() {
                    return None;
                }
                let next = reading(&sandbox)?;
                Some((Ok(next), (sandbox, None)))
            },
        )))
    }
}

/// What a container uses now; nothing unless it has processes.
fn reading(sandbox: &Sandbox) -> Option<ContainerStats> {
    let world = &sandbox.world;
    let zero = world.lies(Lie::ZeroStats);
    let config = &sandbox.container.config;
    let written = locked(sandbox.container.mounts.root()).used();
    let network = (config.network != ContainerConfig::NETWORK_NONE
        && config.network != ContainerConfig::NETWORK_HOST)
        .then(|| world.switchboard.traffic(&sandbox.container.id));
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let number = |value: u64| Some(if zero { 0 } else { value });
    sandbox.with_kernel(|kernel, now| {
        if !kernel.is_alive() {
            return None;
        }
        let cpu = kernel.cpu_usage(now);
        Some(ContainerStats {
            time: world.clock.now_ms(),
            cpu: CpuStats {
                usage_nanos: number(nanos(cpu.used)),
                throttled_nanos: number(nanos(cpu.throttled)),
                throttled_periods: number(cpu.throttled_periods),
            },
            memory: MemoryStats {
                current_bytes: number(kernel.memory()),
                peak_bytes: number(kernel.peak_memory),
                limit_bytes: number(kernel.limits.memory * MIB),
                oom_kills: number(kernel.oom_kills),
            },
            pids: PidsStats {
                current: number(kernel.task_count()),
                limit: number(kernel.limits.pids),
            },
            // Nothing is simulated of block devices but what is written.
            block_io: BlockIoStats {
                read_bytes: None,
                write_bytes: number(written),
            },
            network,
            disk_used_bytes: match world.profile {
                Profile::Docker => None,
                Profile::Local => number(written),
            },
        })
    })
}
