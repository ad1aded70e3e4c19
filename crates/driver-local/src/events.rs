//! `events`: what the journals, and this driver's own calls, tell.

use std::sync::Arc;

use driver_types::{BoxStream, Event, EventFilter, EventKind, Result};
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::core::Core;
use crate::time::now_ms;

/// What happens from now on to the owner's objects.
pub(crate) fn events(core: &Arc<Core>, filter: &EventFilter) -> Result<BoxStream<Event>> {
    driver_validation::validate_event_filter(filter)?;
    // What is there already is no news.
    core.containers.look_at_all();
    // The stream ends with the driver: its broadcast goes with it.
    let state = (core.containers.subscribe(), filter.clone());
    Ok(Box::pin(stream::unfold(state, async |(mut receiver, filter)| {
        let event = next(&mut receiver, &filter).await?;
        Some((Ok(event), (receiver, filter)))
    })))
}

async fn next(receiver: &mut Receiver<Event>, filter: &EventFilter) -> Option<Event> {
    loop {
        match receiver.recv().await {
            Ok(event) if filter.matches(&event) => return Some(event),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => {
                return Some(Event {
                    time: now_ms(),
                    container_id: None,
                    session_id: None,
                    kind: EventKind::Lagged,
                });
            }
            Err(RecvError::Closed) => return None,
        }
    }
}
