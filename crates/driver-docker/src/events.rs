//! `events`: from the engine's events to the contract's, in order per container.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use driver_types::{
    BoxStream, Event, EventFilter, EventKind, ExitInfo, ExitReason, Operation, Result, Signal, labels,
};
use driver_validation::validate_event_filter;
use futures_util::stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::oom::{Death, see_run};
use crate::wire::EngineEvent;
use crate::{images, instance, networks, volumes, watch};

/// How long the engine may take to describe what an event is about.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// The owner's volumes or networks by name, and how many makings of each were not yet undone: an event that removes
/// one does not tell whose it was, and comes after later calls.
#[derive(Debug, Default)]
pub(crate) struct OwnObjects(Mutex<HashMap<String, usize>>);

impl OwnObjects {
    /// One was made, or is about to be.
    pub(crate) fn made(&self, name: &str) {
        *self.names().entry(name.to_owned()).or_default() += 1;
    }

    /// One exists.
    fn exists(&self, name: &str) {
        self.names().entry(name.to_owned()).or_insert(1);
    }

    fn is_known(&self, name: &str) -> bool {
        self.names().contains_key(name)
    }

    /// One was removed, or was not made after all. Whether it was the owner's.
    pub(crate) fn removed(&self, name: &str) -> bool {
        let mut names = self.names();
        let Some(count) = names.get_mut(name) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            names.remove(name);
        }
        true
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The references of the engine's images: an event that takes one away tells only the image.
#[derive(Debug, Default)]
pub(crate) struct KnownReferences(Mutex<BTreeSet<String>>);

impl KnownReferences {
    /// These are all. Which ones are gone.
    fn replace(&self, now: BTreeSet<String>) -> Vec<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = known.difference(&now).cloned().collect();
        *known = now;
        gone
    }

    fn add(&self, reference: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(reference.to_owned());
    }
}

async fn references(engine: &Arc<Engine>) -> Result<BTreeSet<String>> {
    let images = images::list_images(engine).await?;
    Ok(images.into_iter().flat_map(|image| image.references).collect())
}

/// What happens from now on to the owner's objects.
pub(crate) async fn events(engine: &Arc<Engine>, filter: &EventFilter) -> Result<BoxStream<Event>> {
    validate_event_filter(filter)?;
    watch::open(engine).await?;
    let receiver = engine.watcher.subscribe();
    // Those that exist are found once; later ones by their creation.
    let (volumes, networks, references) = tokio::try_join!(
        volumes::list_volumes(engine),
        networks::list_networks(engine),
        references(engine)
    )?;
    volumes
        .iter()
        .for_each(|volume| engine.own_volumes.exists(&volume.name));
    networks
        .iter()
        .for_each(|network| engine.own_networks.exists(&network.name));
    references
        .iter()
        .for_each(|reference| engine.references.add(reference));
    // The stream ends with the driver: the engine's broadcast goes with it.
    let state = (receiver, filter.clone());
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
                    time: crate::time::now_ms(),
                    container_id: None,
                    session_id: None,
                    kind: EventKind::Lagged,
                });
            }
            Err(RecvError::Closed) => return None,
        }
    }
}

/// An event of the engine that waits to be translated.
pub(crate) struct Noticed {
    pub(crate) event: EngineEvent,
    /// If it tells a death.
    pub(crate) death: Option<Death>,
}

/// Translates the engine's events one after another, so that their order stays.
pub(crate) async fn translate(engine: Weak<Engine>, mut events: mpsc::Receiver<Noticed>) {
    while let Some(Noticed { event, death }) = events.recv().await {
        let Some(engine) = engine.upgrade() else { return };
        let kinds = match (event.kind.as_str(), event.action.as_str()) {
            ("image", "untag" | "delete" | "remove") => references_gone(&engine).await,
            _ => match death {
                Some(death) => died(&engine, &event.actor.id, death).await,
                None => kind(&engine, &event).await.into_iter().collect(),
            },
        };
        let is_container = event.kind == "container";
        let session = event
            .actor
            .attributes
            .get(labels::SESSION)
            .filter(|_| is_container);
        for kind in kinds {
            engine.watcher.publish(Event {
                time: event.epoch_ms(),
                container_id: is_container.then(|| event.actor.id.clone()),
                session_id: session.cloned(),
                kind,
            });
        }
    }
}

/// The references that no image has any more.
async fn references_gone(engine: &Arc<Engine>) -> Vec<EventKind> {
    let Some(now) = limited(references(engine)).await else {
        return Vec::new();
    };
    let gone = engine.references.replace(now);
    gone.into_iter()
        .map(|reference| EventKind::ImageRemoved { reference })
        .collect()
}

async fn kind(engine: &Arc<Engine>, event: &EngineEvent) -> Option<EventKind> {
    let name = event.actor.attributes.get("name").unwrap_or(&event.actor.id);
    match (event.kind.as_str(), event.action.as_str()) {
        ("container", "create") => Some(EventKind::Created),
        ("container", "start") => Some(EventKind::Started),
        ("container", "pause") => Some(EventKind::Paused),
        ("container", "unpause") => Some(EventKind::Resumed),
        ("container", "oom") => Some(EventKind::Oom),
        ("container", "destroy" | "remove") => Some(EventKind::Removed),
        ("container", action) => {
            let word = action
                .strip_prefix("health_status")?
                .trim_start_matches([':', ' ']);
            let status = instance::health_status(word)?;
            Some(EventKind::Health { status })
        }
        // The name that a pull event has is without the tag.
        ("image", "pull") => Some(image_added(engine, &event.actor.id)),
        ("image", "tag" | "load" | "loadfromarchive") => Some(image_added(engine, name)),
        ("volume", "create") => {
            let name = event.actor.id.clone();
            if engine.own_volumes.is_known(&name) {
                return Some(EventKind::VolumeCreated { name });
            }
            let found = limited(volumes::find(engine, Operation::Events, &name)).await?;
            let owned = found.is_some_and(|volume| engine.owns(&volume.labels));
            owned.then(|| {
                engine.own_volumes.exists(&name);
                EventKind::VolumeCreated { name }
            })
        }
        ("volume", "destroy" | "remove") => {
            let name = event.actor.id.clone();
            engine
                .own_volumes
                .removed(&name)
                .then_some(EventKind::VolumeRemoved { name })
        }
        ("network", "create") => {
            if engine.own_networks.is_known(name) {
                return Some(EventKind::NetworkCreated { name: name.clone() });
            }
            let found = limited(networks::find(engine, Operation::Events, name)).await?;
            let owned = found.is_some_and(|network| engine.owns(&network.labels));
            owned.then(|| {
                engine.own_networks.exists(name);
                EventKind::NetworkCreated { name: name.clone() }
            })
        }
        ("network", "destroy" | "remove") => engine
            .own_networks
            .removed(name)
            .then(|| EventKind::NetworkRemoved { name: name.clone() }),
        _ => None,
    }
}

fn image_added(engine: &Engine, reference: &str) -> EventKind {
    engine.references.add(reference);
    EventKind::ImageAdded {
        reference: reference.to_owned(),
    }
}

async fn limited<T>(lookup: impl Future<Output = Result<T>>) -> Option<T> {
    tokio::time::timeout(LOOKUP_LIMIT, lookup).await.ok()?.ok()
}

/// How the run ended of which the engine says that it died: the event has the code, only the container has the reason.
async fn died(engine: &Arc<Engine>, id: &str, death: Death) -> Vec<EventKind> {
    let found = limited(engine.find(Operation::Events, id)).await.flatten();
    let record = engine.records.get(id);
    let described = found.zip(record).and_then(|(inspect, record)| {
        let memory = see_run(engine, &record, &inspect);
        instance::exit(&inspect, &memory)
    });
    let oom = death.untold_oom.then_some(EventKind::Oom);
    let exit = described.unwrap_or(death.exit);
    oom.into_iter().chain([EventKind::Exited { exit }]).collect()
}

/// What the event of a death alone tells.
pub(crate) fn exit_of_event(attributes: &BTreeMap<String, String>, finished_at: u64) -> ExitInfo {
    let exit_code = attributes.get("exitCode").and_then(|code| code.parse().ok());
    let signal = exit_code.and_then(Signal::from_exit_code);
    let reason = match (exit_code, signal) {
        (None, _) => ExitReason::Unknown,
        (Some(_), None) => ExitReason::Exited,
        (Some(_), Some(_)) => ExitReason::Signaled,
    };
    ExitInfo {
        exit_code,
        signal,
        reason,
        finished_at,
    }
}
