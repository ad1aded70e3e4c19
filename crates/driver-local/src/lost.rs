//! Runs whose shim was killed. They get another one, which goes on where it was; where that cannot be, they are ended, and
//! those who wait are told.

use std::sync::Arc;
use std::time::Duration;

use driver_local_shim::{Report, Task};
use driver_types::{ContainerStatus, DriverError, Result, Signal};

use crate::container::Container;
use crate::core::{Core, Turn, blocking};
use crate::journal::Record;
use crate::shim::ShimProcess;
use crate::time::now_ms;
use crate::{launch, lifecycle, process};

/// How often a run gets another shim that dies before it answers: more often than shims wait that one killer could know.
const ADOPTIONS: usize = 5;
/// How long `recover` waits for a shim's word. It takes as long where the host's pid 1 is slow to reap: an exec whose shim was
/// killed is its child, and the kernel ends the container's first process after all others were reaped.
const WORD_LIMIT: Duration = Duration::from_secs(30);
/// Longer than a process takes from its first closed file to its last.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// A lock cannot be awaited without a thread that may be stuck; here it is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Waits for the end of a run's shim; where it has not written the end of the run, takes care of that. Ends with the driver.
pub(crate) fn watch(core: &Arc<Core>, id: &str, run: u32, shim: ShimProcess) {
    let (core, id) = (Arc::downgrade(core), id.to_owned());
    tokio::spawn(async move {
        shim.ended().await;
        let Some(core) = core.upgrade() else { return };
        if let Err(error) = rescue(&core, &id, run).await {
            tracing::warn!(container = id, %error, "a run whose shim was killed is left for recover");
        }
    });
}

async fn rescue(core: &Arc<Core>, id: &str, run: u32) -> Result<()> {
    let is_lost = || -> Result<bool> {
        let found = core.containers.look(id)?;
        let unfinished = found.as_ref().and_then(|container| container.unfinished());
        Ok(unfinished.is_some_and(|unfinished| unfinished.number == run))
    };
    if !is_lost()? || core.is_shut_down() {
        return Ok(());
    }
    await_lock(core, id).await?;
    // Not in the container's turn: a stop that waits for the end has it. Two who adopt are told apart by the shim's lock.
    let adopted = Box::pin(adopt_now(core, id)).await?;
    if adopted || !is_lost()? {
        return Ok(());
    }
    end(core, id)?;
    let turn = match core.turn_of_any(id).await {
        Err(error) if error.code() == "CONTAINER_NOT_FOUND" => return Ok(()),
        turn => turn?,
    };
    let now = &turn.container;
    if now.live().is_some() || now.story.starting.is_some() {
        return Ok(());
    }
    let (core, now) = (Arc::clone(core), now.clone());
    blocking(move || lifecycle::clean(&core, &now)).await
}

/// Whether a run has begun all the same whose shim was killed before it said so; then it has a shim now, or its end is written.
pub(crate) async fn is_taken_over(core: &Arc<Core>, id: &str, run: u32) -> Result<bool> {
    let found = core.containers.look(id)?;
    let begun = found.and_then(|container| container.story.run);
    if begun.is_none_or(|begun| begun.number != run) {
        return Ok(false);
    }
    await_lock(core, id).await?;
    adopt_now(core, id).await
}

/// A process that ends closes its files one after another: the socket that told of its end comes before the lock. It stays
/// taken where another driver has given the run a shim meanwhile.
async fn await_lock(core: &Core, id: &str) -> Result<()> {
    let Some(container) = core.containers.look(id)? else {
        return Ok(());
    };
    let free = async {
        while container.dir.has_shim() {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    let _ = tokio::time::timeout(LOCK_LIMIT, free).await;
    Ok(())
}

/// Gives a run whose shim was killed another one; of a run that has ended meanwhile it finds out how.
pub(crate) async fn adopt(core: &Arc<Core>, mut turn: Turn) -> Result<Turn> {
    adopt_now(core, turn.container.id()).await?;
    turn.container = core.containers.find(turn.container.id())?;
    Ok(turn)
}

/// Waits until the shim has written what it is about to write, so that the journal tells how things are.
pub(crate) async fn hear(core: &Core, mut turn: Turn) -> Result<Turn> {
    let id = turn.container.id().to_owned();
    let heard = async {
        loop {
            let now = core.containers.find(&id)?;
            if !is_about_to_write(&now) {
                return Ok::<_, DriverError>(now);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    match tokio::time::timeout(WORD_LIMIT, heard).await {
        Ok(now) => turn.container = now?,
        Err(_) => tracing::warn!(container = id, "its shim writes neither a beginning nor an end"),
    }
    Ok(turn)
}

/// Whether a shim is at the beginning of a run, whose driver is gone because it is another's turn, or at the end of one.
fn is_about_to_write(container: &Container) -> bool {
    let begins = container.story.starting.is_some();
    let ends = || {
        let unfinished = container.unfinished();
        unfinished.is_some_and(|run| container.dir.has_exit() || process::has_ended(run))
    };
    (begins || ends()) && container.dir.has_shim()
}

/// Whether the run has a shim now, or its end is written. Whoever kills a shim may kill the next one too, before it answers.
async fn adopt_now(core: &Arc<Core>, id: &str) -> Result<bool> {
    for attempt in 0..ADOPTIONS {
        let Some(container) = core.containers.look(id)? else {
            return Ok(false);
        };
        let Some(run) = container.unfinished().filter(|_| !container.dir.has_shim()) else {
            // The one that died had written the end, or another has it.
            return Ok(attempt > 0);
        };
        if run.boot_id != process::boot_id() || container.status() == ContainerStatus::Removing {
            return Ok(false);
        }
        let task = Task::Adopt(Box::new(launch::adopt_task(core, &container, run)));
        let adopted = match core.shim.spawn(&task).await {
            Ok(mut shim) => shim.report().await.map(|report| (shim, report)),
            Err(error) => Err(error),
        };
        match adopted {
            Ok((shim, Report::Started { .. })) => {
                core.containers.look(id)?;
                watch(core, id, run.number, shim);
                return Ok(true);
            }
            Ok((_, Report::Ready)) => {
                core.containers.look(id)?;
                return Ok(true);
            }
            // What cannot be adopted is ended.
            Ok((_, other)) => {
                tracing::warn!(container = id, ?other, "it cannot be adopted");
                return Ok(false);
            }
            Err(error) => tracing::warn!(container = id, %error, "the shim that was to adopt it is gone"),
        }
    }
    Ok(false)
}

/// Ends the processes of a run without a shim, and tells so. Where there is none it does nothing.
///
/// # Errors
///
/// Those of the journal; `INTERNAL_ERROR` where they cannot be killed.
pub(crate) fn end(core: &Core, id: &str) -> Result<()> {
    let Some(container) = core.containers.look(id)? else {
        return Ok(());
    };
    let Some(run) = container.unfinished().filter(|_| !container.dir.has_shim()) else {
        return Ok(());
    };
    if run.boot_id == process::boot_id() {
        let killed = process::signal(run, Signal::KILL).map_err(|error| {
            DriverError::internal(format!(
                "container {id} has no shim and cannot be killed: {error}"
            ))
        })?;
        if killed {
            tracing::warn!(container = id, "its shim is gone; its processes were killed");
        }
    }
    let lost = Record::Lost {
        run: run.number,
        at: now_ms(),
    };
    core.containers.record(&container, &lost)?;
    Ok(())
}
