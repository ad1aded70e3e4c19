//! A reading as a stream: to the end of what is there, or of the run.

use std::sync::Arc;
use std::time::Duration;

use driver_types::{BoxStream, LogFrame, LogOptions, Result};
use futures_util::{StreamExt, stream};

use super::Reading;
use crate::container::Container;
use crate::containers::unreadable;
use crate::core::{Core, blocking};
use crate::time::now_ms;

/// What a reading waits for.
#[derive(Debug)]
pub(super) struct Follow {
    core: Arc<Core>,
    id: String,
    /// The run to whose end it goes: the one that is, or else was the last, or of a container that never ran the first.
    run: u32,
    /// The time after which nothing passes any more.
    until: Option<u64>,
}

impl Follow {
    /// To the end of the container's run as it is now.
    pub(super) fn new(core: &Arc<Core>, container: &Container, options: &LogOptions) -> Self {
        let run = container.story.run.as_ref();
        core.containers.watch_log(container.id());
        Self {
            core: Arc::clone(core),
            id: container.id().to_owned(),
            run: run.map_or(container.story.next_run, |run| run.number),
            until: options.until,
        }
    }

    /// Whether nothing more will be written that passes.
    fn is_over(&self) -> Result<bool> {
        if self.until.is_some_and(|until| now_ms() >= until) {
            return Ok(true);
        }
        let Some(container) = self.core.containers.get(&self.id)? else {
            return Ok(true);
        };
        let story = &container.story;
        Ok(story.run.as_ref().map_or(story.removing, |run| {
            run.number > self.run || run.exit.is_some() || run.lost
        }))
    }

    /// Waits for the time after which nothing passes.
    async fn until(&self) {
        match self.until {
            None => std::future::pending().await,
            Some(until) => tokio::time::sleep(Duration::from_millis(until.saturating_sub(now_ms()))).await,
        }
    }
}

/// All frames of a reading.
pub(super) fn stream(reading: Reading, follow: Option<Follow>) -> BoxStream<LogFrame> {
    let batches = stream::unfold(Some((reading, follow)), async |state| {
        let (reading, follow) = state?;
        match next(reading, follow.as_ref()).await {
            Ok(Some((frames, reading))) => {
                let frames: Vec<Result<LogFrame>> = frames.into_iter().map(Ok).collect();
                Some((stream::iter(frames), Some((reading, follow))))
            }
            Ok(None) => None,
            Err(error) => Some((stream::iter(vec![Err(error)]), None)),
        }
    });
    Box::pin(batches.flatten())
}

/// The next frames, waiting for them; `None` at the end. A thread is used only for as long as something is read.
async fn next(mut reading: Reading, follow: Option<&Follow>) -> Result<Option<(Vec<LogFrame>, Reading)>> {
    loop {
        // Both before the reading: what is written meanwhile wakes, and a run that had ended wrote nothing more.
        let changed = follow.and_then(|follow| follow.core.containers.watch(&follow.id));
        let over = match follow {
            None => true,
            Some(follow) => follow.is_over()?,
        };
        let frames;
        (frames, reading) = blocking(move || {
            let frames = reading.next().map_err(|error| unreadable(&error))?;
            Ok((frames, reading))
        })
        .await?;
        if !frames.is_empty() {
            return Ok(Some((frames, reading)));
        }
        match (follow, changed) {
            _ if over => return Ok(None),
            (Some(follow), Some(mut changed)) => tokio::select! {
                // An error means a change as well: the container is gone.
                _ = changed.changed() => {}
                () = follow.until() => {}
            },
            // It came into the cache only when it was looked at.
            _ => {}
        }
    }
}
