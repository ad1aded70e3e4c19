//! Runs whose shim was killed: nobody would tell those who wait for their end.

use std::sync::Arc;

use driver_types::{DriverError, Result, Signal};
use tokio::task::JoinHandle;

use crate::container::Container;
use crate::core::{Core, blocking};
use crate::journal::Record;
use crate::lifecycle;
use crate::process;
use crate::time::now_ms;

/// Writes a run down as lost when its shim, which ends with `shim`, has not written its end. Ends with the driver.
pub(crate) fn with_shim(core: &Arc<Core>, id: &str, run: u32, shim: JoinHandle<()>) {
    let (core, id) = (Arc::downgrade(core), id.to_owned());
    tokio::spawn(async move {
        if shim.await.is_err() {
            // The runtime ends, not the shim.
            return;
        }
        let Some(core) = core.upgrade() else { return };
        if let Err(error) = lose(&core, &id, run).await {
            tracing::warn!(container = id, %error, "what a run whose shim was killed had is left for recover");
        }
    });
}

async fn lose(core: &Arc<Core>, id: &str, run: u32) -> Result<()> {
    let Some(container) = core.containers.look(id)? else {
        return Ok(());
    };
    if container
        .unfinished()
        .is_none_or(|unfinished| unfinished.number != run)
    {
        return Ok(());
    }
    // Not in the container's turn: a stop that waits for the end has it.
    end(core, &container)?;
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

/// Ends the processes of a run without a shim, and tells so.
///
/// # Errors
///
/// Those of the journal; `INTERNAL_ERROR` where they cannot be killed.
pub(crate) fn end(core: &Core, container: &Container) -> Result<()> {
    let Some(run) = container.unfinished() else {
        return Ok(());
    };
    let same_boot = run.boot_id == process::boot_id();
    if same_boot {
        let killed = process::signal(run, Signal::KILL).map_err(|error| {
            let message = format!(
                "container {} has no shim and cannot be killed: {error}",
                container.id()
            );
            DriverError::internal(message)
        })?;
        if killed {
            tracing::warn!(
                container = container.id(),
                "its shim is gone; its processes were killed"
            );
        }
    }
    let lost = Record::Lost {
        run: run.number,
        at: now_ms(),
    };
    core.containers.record(container, &lost)?;
    Ok(())
}
