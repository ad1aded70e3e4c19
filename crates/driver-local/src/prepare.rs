//! When shims are made that wait for the next start: when the processors have nothing better to do. To make one ahead costs more
//! than to make it when it is needed; what is won is that nobody waits for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driver_local_shim::{ExecTask, JoinTask};
use tokio::runtime::Handle;

use crate::core::Core;
use crate::shim::Waiting;

/// For so long what was just started has the processors to itself.
const AFTER: Duration = Duration::from_millis(5);

/// What tells when.
#[derive(Debug)]
pub(crate) struct Load {
    processors: usize,
    /// How many starts and execs are under way.
    starts: AtomicUsize,
    /// Whether somebody waits to make the next shims.
    awaited: AtomicBool,
    /// The containers of the latest execs, for which none waits.
    joins: Mutex<Vec<JoinTask>>,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            starts: AtomicUsize::new(0),
            awaited: AtomicBool::new(false),
            joins: Mutex::default(),
        }
    }

    /// Whether at least half of the processors are not starting anything.
    fn is_low(&self) -> bool {
        self.starts.load(Ordering::Relaxed) * 2 < self.processors
    }

    /// Another exec like this one is to be expected. The oldest are forgotten.
    fn expect(&self, join: JoinTask, most: usize) {
        let mut joins = self.joins();
        joins.retain(|other| *other != join);
        joins.push(join);
        let excess = joins.len().saturating_sub(most);
        joins.drain(..excess);
    }

    fn joins(&self) -> MutexGuard<'_, Vec<JoinTask>> {
        self.joins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A start that is under way. Dropped, it is not.
pub(crate) struct Start<'a> {
    core: &'a Arc<Core>,
    exec: Option<JoinTask>,
}

impl<'a> Start<'a> {
    pub(crate) fn of(core: &'a Arc<Core>) -> Self {
        core.load.starts.fetch_add(1, Ordering::Relaxed);
        Self { core, exec: None }
    }

    pub(crate) fn of_exec(core: &'a Arc<Core>, task: &ExecTask) -> Self {
        let mut start = Self::of(core);
        start.exec = Some(task.joining());
        start
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        let load = &self.core.load;
        load.starts.fetch_sub(1, Ordering::Relaxed);
        if let Some(join) = self.exec.take() {
            load.expect(join, self.core.options.prepared_execs);
        }
        prepare(self.core);
    }
}

/// Makes ready for the next start, in a moment.
fn prepare(core: &Arc<Core>) {
    let any = core.options.prepared;
    // Without root the shim would not use them.
    let runs = if core.rootless.is_some() { 0 } else { any };
    let wanted = Waiting { runs, any };
    // Where it is dropped with the runtime there is no next start.
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let is_ready = core.shim.is_prepared(wanted) && core.load.joins().is_empty();
    if is_ready || core.load.awaited.swap(true, Ordering::Relaxed) {
        return;
    }
    let core = Arc::downgrade(core);
    runtime.spawn(async move {
        let core = loop {
            tokio::time::sleep(AFTER).await;
            match core.upgrade() {
                Some(core) if core.is_shut_down() => return,
                Some(core) if core.load.is_low() => break core,
                Some(_) => {}
                None => return,
            }
        };
        core.load.awaited.store(false, Ordering::Relaxed);
        if let Err(error) = core.shim.prepare(wanted, &core.cgroups).await {
            tracing::warn!(%error, "no shim can be prepared for the next start");
        }
        let joins = std::mem::take(&mut *core.load.joins());
        for join in joins {
            if let Err(error) = core.shim.join(join, core.options.prepared_execs).await {
                tracing::warn!(%error, "no shim can be prepared for the next exec");
            }
        }
        // Meanwhile: nobody would take them.
        if core.is_shut_down() {
            core.shim.rest();
        }
    });
}
