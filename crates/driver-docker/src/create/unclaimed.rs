//! A container that was made, until its creator has heard of it.

use std::sync::Arc;

use driver_types::{ContainerInstance, Operation, Result};
use tokio::sync::OwnedMutexGuard;

use crate::engine::Engine;
use crate::error;

/// A container whose creator has not yet heard of it. Dropped before that, it is removed.
pub(super) struct Unclaimed {
    pub(super) engine: Arc<Engine>,
    pub(super) id: String,
    pub(super) made: Option<ContainerInstance>,
    /// The next call with the same request id waits until a removal is done.
    pub(super) turn: Option<OwnedMutexGuard<()>>,
}

impl Unclaimed {
    /// Its creator has heard of it.
    pub(super) fn claim(mut self) -> ContainerInstance {
        self.engine.records.appeared(&self.id);
        match self.made.take() {
            Some(made) => made,
            None => unreachable!("an unclaimed container is claimed once"),
        }
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if self.made.is_none() {
            return;
        }
        let (engine, id, turn) = (
            Arc::clone(&self.engine),
            std::mem::take(&mut self.id),
            self.turn.take(),
        );
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = undo(&engine, &id).await {
                    tracing::warn!(container = id, %error, "a container that nobody waits for was not removed");
                }
                drop(turn);
            });
        }
    }
}

/// Removes a container that was made and is not to stay.
pub(super) async fn undo(engine: &Engine, id: &str) -> Result<()> {
    let removed = engine
        .client
        .delete(format!("/containers/{id}"))
        .query("force", true)
        .query("v", true)
        .unit()
        .await;
    engine.records.forget(id);
    match removed {
        Err(failure) if failure.status_code() != Some(404) => {
            Err(error::container(Operation::RemoveContainer, id, failure))
        }
        _ => Ok(()),
    }
}
