//! What happens in a world, told to whoever listens.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use driver_types::{BoxStream, DriverError, Event, EventFilter, EventKind};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::Inner;

/// The listeners, by owner: what happens to the objects of one does not make another lag.
#[derive(Debug)]
pub(crate) struct Listeners {
    channels: RwLock<HashMap<Arc<str>, broadcast::Sender<Event>>>,
    /// Events that a listener may be behind.
    buffer: usize,
}

impl Listeners {
    pub(crate) fn new(buffer: usize) -> Self {
        Self {
            channels: RwLock::default(),
            buffer: buffer.max(1),
        }
    }

    /// Tells the listeners of an owner, or of all, if there are any.
    pub(crate) fn tell(&self, owner: Option<&Arc<str>>, event: impl Fn() -> Event) {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let send = |channel: &broadcast::Sender<Event>| {
            if channel.receiver_count() > 0 {
                let _ = channel.send(event());
            }
        };
        match owner {
            Some(owner) => channels.get(owner).into_iter().for_each(send),
            None => channels.values().for_each(send),
        }
    }

    fn subscribe(&self, owner: &Arc<str>) -> broadcast::Receiver<Event> {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|_, channel| channel.receiver_count() > 0);
        let channel = channels
            .entry(Arc::clone(owner))
            .or_insert_with(|| broadcast::channel(self.buffer).0);
        channel.subscribe()
    }
}

async fn wait_until_down(down: &mut watch::Receiver<bool>) {
    // The world holds the sender, and lives as long as its streams.
    let _ = down.wait_for(|down| *down).await.is_ok();
}

impl Inner {
    /// Tells an event that is not about a container: to its owner, or to everybody.
    pub(crate) fn tell(&self, owner: Option<&Arc<str>>, kind: EventKind) {
        self.events.tell(owner, || self.event(kind.clone()));
    }

    fn event(&self, kind: EventKind) -> Event {
        Event {
            time: self.clock.now_ms(),
            container_id: None,
            session_id: None,
            kind,
        }
    }

    /// The events from now on of one owner.
    pub(crate) fn listen(self: &Arc<Self>, owner: &Arc<str>, filter: EventFilter) -> BoxStream<Event> {
        let receiver = self.events.subscribe(owner);
        let down = self.down.subscribe();
        let world = Arc::clone(self);
        Box::pin(stream::unfold(Some((receiver, down)), move |state| {
            let (world, filter) = (Arc::clone(&world), filter.clone());
            async move {
                let (mut receiver, mut down) = state?;
                loop {
                    let told = tokio::select! {
                        biased;
                        told = receiver.recv() => told,
                        () = wait_until_down(&mut down) => {
                            let error = DriverError::network("the connection to the simulated engine broke");
                            return Some((Err(error), None));
                        }
                    };
                    let event = match told {
                        Ok(event) if filter.matches(&event) => event,
                        Ok(_) => continue,
                        Err(RecvError::Lagged(_)) => world.event(EventKind::Lagged),
                        Err(RecvError::Closed) => return None,
                    };
                    return Some((Ok(event), Some((receiver, down))));
                }
            }
        }))
    }
}
