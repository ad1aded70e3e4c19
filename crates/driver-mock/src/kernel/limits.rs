//! What the processes of a container use, and how the kernel holds it.

use std::time::Duration;

use driver_types::Signal;

use super::{End, Kernel};

/// Bytes.
pub(crate) const MIB: u64 = 1 << 20;

/// A scheduler period of the CPU limit.
const PERIOD: Duration = Duration::from_millis(100);

/// Processor time of the current run, up to the last time it was settled.
#[derive(Debug, Default)]
pub(super) struct CpuAccount {
    settled: Duration,
    usage: CpuUsage,
    throttled_for: Duration,
}

/// Processor time of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuUsage {
    pub(crate) used: Duration,
    pub(crate) throttled: Duration,
    pub(crate) throttled_periods: u64,
}

impl CpuAccount {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            settled: now,
            ..Self::default()
        }
    }
}

impl Kernel {
    /// Counts the processor time since the last settlement: what busy threads ask for, up to the limit and the cores
    /// of the host, shared evenly. Called before anything that changes who is busy.
    pub(crate) fn settle(&mut self, now: Duration) {
        let span = now.saturating_sub(self.cpu.settled);
        self.cpu.settled = now.max(self.cpu.settled);
        if self.frozen || span.is_zero() {
            return;
        }
        let runs = |process: &&mut Box<super::Process>| process.busy > 0 && !process.stopped;
        let demand: u32 = self
            .processes
            .values_mut()
            .filter(runs)
            .map(|process| process.busy)
            .sum();
        if demand == 0 {
            return;
        }
        let wanted = f64::from(demand).min(self.enforce.cores);
        let granted = if self.enforce.cpu {
            wanted.min(self.limits.cpu)
        } else {
            wanted
        };
        self.cpu.usage.used += span.mul_f64(granted);
        if granted < wanted {
            self.cpu.usage.throttled += span.mul_f64(wanted - granted);
            self.cpu.throttled_for += span;
            self.cpu.usage.throttled_periods =
                u64::try_from(self.cpu.throttled_for.as_millis() / PERIOD.as_millis()).unwrap_or(u64::MAX);
        }
        for process in self.processes.values_mut().filter(runs) {
            process.cpu += span.mul_f64(granted * f64::from(process.busy) / f64::from(demand));
        }
    }

    /// Processor time of the run until now.
    pub(crate) fn cpu_usage(&mut self, now: Duration) -> CpuUsage {
        self.settle(now);
        self.cpu.usage
    }

    /// Makes threads of a process busy, or idle again. The threads beside the first count as tasks.
    pub(crate) fn set_busy(&mut self, now: Duration, pid: u32, threads: u32) {
        self.settle(now);
        if let Some(process) = self.living(pid) {
            process.busy = threads;
            process.threads = threads.saturating_sub(1);
        }
    }

    /// How many more processes or threads there may be.
    pub(crate) fn free_tasks(&self) -> u64 {
        if self.enforce.pids {
            self.limits.pids.saturating_sub(self.task_count())
        } else {
            u64::MAX
        }
    }

    /// Bytes that processes and file systems in memory use.
    pub(crate) fn memory(&self) -> u64 {
        let files: u64 = self
            .memory_trees
            .iter()
            .map(|tree| {
                tree.lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .used()
            })
            .sum();
        self.processes.values().map(|process| process.memory).sum::<u64>() + files
    }

    /// Gives a process memory; the kernel may kill it, or a larger one, for that.
    pub(crate) fn allocate(&mut self, now: Duration, pid: u32, bytes: u64) {
        if let Some(process) = self.living(pid) {
            process.memory += bytes;
        }
        self.charge_memory(now);
    }

    /// Holds the memory limit: while more is used than may be, the largest process is killed.
    pub(crate) fn charge_memory(&mut self, now: Duration) {
        let limit = self.limits.memory * MIB;
        loop {
            let used = self.memory();
            if !self.enforce.memory {
                self.peak_memory = self.peak_memory.max(used);
                return;
            }
            self.peak_memory = self.peak_memory.max(used.min(limit));
            if used <= limit {
                return;
            }
            let living = self.processes.iter().filter(|(_, process)| process.end.is_none());
            // Of equals the youngest: it is the one that asked.
            let largest = living
                .max_by_key(|(pid, process)| (process.memory, **pid))
                .map(|(pid, _)| *pid);
            let Some(largest) = largest else {
                return;
            };
            self.oom_kills += 1;
            self.unreported_ooms += 1;
            self.exit(now, largest, End::Signal(Signal::KILL));
        }
    }
}
