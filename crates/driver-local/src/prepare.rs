//! When shims are made that wait for the next start: when the processors have nothing better to do. To make one ahead costs more
//! than to make it when it is needed; what is won is that nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::cgroups::Cgroups;
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
}

impl Load {
    pub(crate) fn new() -> Self {
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            starts: AtomicUsize::new(0),
            awaited: AtomicBool::new(false),
        }
    }

    /// Whether at least half of the processors are not starting anything.
    fn is_low(&self) -> bool {
        self.starts.load(Ordering::Relaxed) * 2 < self.processors
    }
}

/// A start that is under way. Dropped, it is not.
pub(crate) struct Start<'a>(&'a Arc<Core>);

impl<'a> Start<'a> {
    pub(crate) fn of(core: &'a Arc<Core>) -> Self {
        core.load.starts.fetch_add(1, Ordering::Relaxed);
        Self(core)
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        self.0.load.starts.fetch_sub(1, Ordering::Relaxed);
        prepare(self.0);
    }
}

/// Makes ready for the next start, in a moment.
fn prepare(core: &Arc<Core>) {
    let any = core.options.prepared;
    // With version 2, or without root, the shim would not use them.
    let runs = match core.cgroups {
        Cgroups::V2(_) => 0,
        _ if core.rootless.is_some() => 0,
        _ => any,
    };
    let wanted = Waiting { runs, any };
    // Where it is dropped with the runtime there is no next start.
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if core.shim.is_prepared(wanted) || core.load.awaited.swap(true, Ordering::Relaxed) {
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
        // Meanwhile: nobody would take them.
        if core.is_shut_down() {
            core.shim.rest();
        }
    });
}
