//! What happens in a world, told to whoever listens.

use std::sync::Arc;

use driver_types::{BoxStream, DriverError, Event, EventFilter, EventKind};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::Inner;

/// An event, and whose objects it is about; nobody's: everybody may know.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) event: Event,
}

async fn wait_until_down(down: &mut watch::Receiver<bool>) {
    // The world holds the sender, and lives as long as its streams.
    let _ = down.wait_for(|down| *down).await.is_ok();
}

impl Inner {
    /// Tells an event that is not about a container.
    pub(crate) fn tell(&self, owner: Option<&Arc<str>>, kind: EventKind) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let event = Event {
            time: self.clock.now_ms(),
            container_id: None,
            session_id: None,
            kind,
        };
        let owner = owner.cloned();
        let _ = self.events.send(Told { owner, event });
    }

    /// The events from now on of one owner.
    pub(crate) fn listen(&self, owner: Arc<str>, filter: EventFilter) -> BoxStream<Event> {
        let receiver = self.events.subscribe();
        let clock = self.clock.clone();
        let down = self.down.subscribe();
        let state = (receiver, down, false);
        Box::pin(stream::unfold(state, move |(mut receiver, mut down, ended)| {
            let (owner, filter, clock) = (Arc::clone(&owner), filter.clone(), clock.clone());
            async move {
                if ended {
                    return None;
                }
                loop {
                    let told = tokio::select! {
                        biased;
                        told = receiver.recv() => told,
                        _ = wait_until_down(&mut down) => {
                            let error = DriverError::network("the connection to the simulated engine broke");
                            return Some((Err(error), (receiver, down, true)));
                        }
                    };
                    let event = match told {
                        Ok(Told { owner: whose, event }) => {
                            let own = whose.is_none_or(|whose| whose == owner);
                            if !own || !filter.matches(&event) {
                                continue;
                            }
                            event
                        }
                        Err(RecvError::Lagged(_)) => Event {
                            time: clock.now_ms(),
                            container_id: None,
                            session_id: None,
                            kind: EventKind::Lagged,
                        },
                        Err(RecvError::Closed) => return None,
                    };
                    return Some((Ok(event), (receiver, down, false)));
                }
            }
        }))
    }

    pub(crate) fn channel(buffer: usize) -> broadcast::Sender<Told> {
        broadcast::channel(buffer.max(1)).0
    }
}
