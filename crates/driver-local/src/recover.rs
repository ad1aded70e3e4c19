//! `recover` and `shutdown`, and what both need: telling what lives from what was lost.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use driver_types::{
    ContainerStatus, DriverError, ObjectKind, ObjectRef, RecoveryReport, RemoveOptions, Result, ShutdownMode,
    StopOptions,
};
use futures_util::{StreamExt, stream};

use crate::container::Container;
use crate::containers::unreadable;
use crate::core::{Core, Turn, blocking};
use crate::journal::Record;
use crate::layout::Layout;
use crate::lock::FileLock;
use crate::query::describe;
use crate::time::now_ms;
use crate::{exec_calls, lifecycle, lost, trash};

/// How many containers are stopped or removed at the same time.
const ENDINGS: usize = 8;

/// Adopts what still runs, collects exits, ends what was half done, and reports what could not be ended.
pub(crate) async fn recover(core: &Arc<Core>) -> Result<RecoveryReport> {
    let mut report = RecoveryReport::default();
    sweep_unfinished(core)?;
    for container in core.containers.list(false)? {
        let turn = match core.turn(container.id()).await {
            Err(error) if error.code() == "CONTAINER_NOT_FOUND" => continue,
            turn => turn?,
        };
        let turn = lost::take_over(core, turn).await?;
        if turn.container.story.run.as_ref().is_some_and(|run| run.killing) {
            // A removal by force was begun; its processes may have been killed or not.
            let id = turn.container.id().to_owned();
            if let Err(error) = lifecycle::remove(core, turn).await {
                tracing::warn!(container = id, %error, "its removal cannot be finished");
                report.orphaned.push(reference(&id));
            }
            continue;
        }
        let settling = Arc::clone(core);
        let Some(container) = blocking(move || settle(&settling, &turn)).await? else {
            continue;
        };
        let instance = describe(core, &container);
        match container.status() {
            ContainerStatus::Dead | ContainerStatus::Removing => {
                report.orphaned.push(reference(&instance.id))
            }
            status if status.has_ended() => report.exited.push(instance),
            _ => {
                exec_calls::begin_checks(core, &container);
                lifecycle::leave_at_end(core, &container);
                report.adopted.push(instance);
            }
        }
    }
    sweep_networks(core).await?;
    let used = core.containers.list(true)?;
    let (layout, images) = (core.layout.clone(), Arc::clone(&core.images));
    let volumes = core.volumes.clone();
    blocking(move || {
        let in_use = |layer: &str| {
            let mut layers = used.iter().flat_map(|user| &user.spec.image.layers);
            layers.any(|other| other == layer)
        };
        let swept = images.remove_old_hosts(in_use);
        swept
            .and(volumes.sweep())
            .and(trash::empty(&layout))
            .map_err(|error| unreadable(&error))
    })
    .await?;
    Ok(report)
}

fn reference(id: &str) -> ObjectRef {
    ObjectRef {
        kind: ObjectKind::Container,
        id: id.to_owned(),
    }
}

/// Brings a container whose turn it is to a state that its journal tells truly. `None` where its removal was finished.
/// Blocks.
fn settle(core: &Core, turn: &Turn) -> Result<Option<Container>> {
    let container = &turn.container;
    let id = container.id();
    if container.status() == ContainerStatus::Removing {
        lifecycle::finish_removal(core, container)?;
        return Ok(None);
    }
    if let Some(run) = container.story.starting
        && !container.dir.has_shim()
    {
        // Its driver was killed between the record and the shim's first word.
        lifecycle::clean(core, container)?;
        core.containers
            .record(container, &Record::StartFailed { run, at: now_ms() })?;
    }
    // What could not be adopted. A run that is watched may have lost its shim since, and gets another one.
    let watched = container
        .unfinished()
        .filter(|run| core.watched.has(id, run.number));
    if watched.is_none() {
        lost::end(core, id)?;
    }
    let settled = core.containers.look(id)?;
    if let Some(settled) = &settled {
        agree_with_freezer(core, settled)?;
    }
    if let Some(ended) = settled.as_ref().filter(|container| container.live().is_none()) {
        lifecycle::clean(core, ended)?;
    }
    Ok(settled)
}

/// A driver that was killed between the freezer and the record of it, or in a snapshot, which freezes for a moment and
/// records nothing, left one that does not fit the other. The journal is right.
fn agree_with_freezer(core: &Core, container: &Container) -> Result<()> {
    let Some(run) = container.live() else {
        return Ok(());
    };
    let id = container.id();
    let agreed = match run.paused {
        true => core.cgroups.freeze(container.cgroup()),
        false => core.cgroups.thaw(container.cgroup()),
    };
    match agreed {
        Ok(()) => Ok(()),
        // It ended just now, or the host cannot freeze.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => Ok(()),
        Err(_) if core.containers.look(id)?.is_none_or(|now| now.live().is_none()) => Ok(()),
        Err(error) => Err(DriverError::internal(format!(
            "container {id} cannot be {}: {error}",
            if run.paused { "frozen" } else { "thawed" }
        ))),
    }
}

/// Removes what makers that died have left.
fn sweep_unfinished(core: &Core) -> Result<()> {
    let entries = fs::read_dir(core.layout.containers()).map_err(|error| unreadable(&error))?;
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(".new-")) else {
            continue;
        };
        let dir = core.layout.unfinished(id);
        // A maker that lives holds the lock.
        if Layout::is_id(id) && matches!(FileLock::try_acquire(&dir.lock()), Ok(Some(_))) {
            lifecycle::discard(core, &dir).map_err(|error| unreadable(&error))?;
        }
    }
    Ok(())
}

/// Ends the driver's work. Later calls are refused, even if a container could not be ended.
pub(crate) async fn shutdown(core: &Arc<Core>, mode: ShutdownMode) -> Result<()> {
    let result = end_all(core, mode).await;
    let swept = sweep_networks(core).await;
    core.shut_down();
    core.health.end_all();
    await_trash(core).await;
    result.and(swept)
}

/// What was removed goes in the background, but not after the program may have ended.
async fn await_trash(core: &Core) {
    let layout = core.layout.clone();
    let emptied = blocking(move || trash::empty(&layout).map_err(|error| unreadable(&error))).await;
    if let Err(error) = emptied {
        tracing::warn!(%error, "what was removed is left in the trash for recover");
    }
}

/// Removes bridges that nobody needs.
async fn sweep_networks(core: &Core) -> Result<()> {
    if !core.host.has_bridges() {
        return Ok(());
    }
    let networks = core.networks.clone();
    blocking(move || networks.sweep().map_err(|error| unreadable(&error))).await
}

async fn end_all(core: &Arc<Core>, mode: ShutdownMode) -> Result<()> {
    if mode == ShutdownMode::Leave {
        return Ok(());
    }
    // No async closures here: with them in combinators rustc 1.95 panics in incremental builds.
    let ended: Vec<Result<()>> = stream::iter(core.containers.list(false)?)
        .map(|container| {
            let core = Arc::clone(core);
            async move { end(&core, container.id(), mode).await }
        })
        .buffer_unordered(ENDINGS)
        .collect()
        .await;
    let mut failed = ended.into_iter().filter_map(Result::err);
    let first = failed.next();
    let count = failed.count() + 1;
    match first {
        Some(first) => Err(first.with_context("failed", count)),
        None => Ok(()),
    }
}

async fn end(core: &Arc<Core>, id: &str, mode: ShutdownMode) -> Result<()> {
    let ended = match mode {
        ShutdownMode::Stop => lifecycle::stop_container(core, id, &StopOptions::default()).await,
        _ => lifecycle::remove_container(core, id, &RemoveOptions::force()).await,
    };
    match ended {
        Err(error) if error.code() == "CONTAINER_NOT_FOUND" => Ok(()),
        other => other,
    }
}
