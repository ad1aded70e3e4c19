//! `recover` and `shutdown`. The engine is the store: what it lists under the owner's label is all there is.

use std::sync::Arc;

use driver_types::{
    ContainerFilter, ContainerStatus, ObjectKind, ObjectRef, Operation, RecoveryReport, RemoveOptions,
    Result, ShutdownMode, StopOptions,
};
use futures_util::{StreamExt, stream};

use crate::engine::Engine;
use crate::{lifecycle, query};

/// How many containers are stopped or removed at the same time.
const ENDINGS: usize = 8;

/// Adopts what still runs, collects exits, and reports half-made objects.
pub(crate) async fn recover(engine: &Arc<Engine>) -> Result<RecoveryReport> {
    let mut report = RecoveryReport::default();
    for container in query::list_containers(engine, &ContainerFilter::default()).await? {
        match container.status {
            ContainerStatus::Dead | ContainerStatus::Removing => report.orphaned.push(ObjectRef {
                kind: ObjectKind::Container,
                id: container.id,
            }),
            status if status.has_ended() => report.exited.push(container),
            _ => report.adopted.push(container),
        }
    }
    Ok(report)
}

/// Ends the driver's work. Later calls are refused, even if a container could not be ended.
pub(crate) async fn shutdown(engine: &Arc<Engine>, mode: ShutdownMode) -> Result<()> {
    let result = end_all(engine, mode).await;
    engine.shut_down();
    result
}

async fn end_all(engine: &Arc<Engine>, mode: ShutdownMode) -> Result<()> {
    if mode == ShutdownMode::Leave {
        return Ok(());
    }
    let containers = query::summaries(engine, Operation::Shutdown, &ContainerFilter::default()).await?;
    // No async closures here: with them in combinators rustc 1.95 panics in incremental builds.
    let ended: Vec<Result<()>> = stream::iter(containers)
        .map(|container| {
            let engine = Arc::clone(engine);
            async move { end(&engine, &container.id, mode).await }
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

async fn end(engine: &Arc<Engine>, id: &str, mode: ShutdownMode) -> Result<()> {
    let removal = RemoveOptions {
        volumes: true,
        ..RemoveOptions::force()
    };
    let ended = match mode {
        ShutdownMode::Stop => lifecycle::stop_container(engine, id, &StopOptions::default()).await,
        _ => lifecycle::remove_container(engine, id, &removal).await,
    };
    match ended {
        Err(error) if error.code() == "CONTAINER_NOT_FOUND" => Ok(()),
        other => other,
    }
}
