//! The engine's event stream: it makes snapshots stale, wakes those who wait, and feeds `events`.
//!
//! One task a driver reads it. It begins with the first read, wait or subscription, and ends with the driver. While
//! the stream is away the cache answers nothing and waiters poll; after it comes back everything counts as changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use driver_types::{DriverError, Event, EventKind, Result, labels};
use futures_util::{Stream, StreamExt};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::AbortHandle;

use crate::engine::Engine;
use crate::error;
use crate::events::{self, Noticed};
use crate::failure::Failure;
use crate::records::Memory;
use crate::time::parse_ms;
use crate::wire::{EngineEvent, Info};

/// Events that a subscriber may be behind before it gets `lagged`.
const SUBSCRIBER_BUFFER: usize = 1024;
/// Events of the engine that wait to be translated.
const TRANSLATION_BUFFER: usize = 4096;
/// The longest event that is read; labels are part of it.
const MAX_EVENT_BYTES: usize = 8 << 20;
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Without an event for so long, the engine is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(10);
/// After so long, snapshots are asked for again even if nothing was heard.
const REFRESH: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The reading task, and those who listen to it.
#[derive(Debug)]
pub(crate) struct Watcher {
    task: Mutex<Option<AbortHandle>>,
    status: watch::Sender<Status>,
    events: broadcast::Sender<Event>,
}

#[derive(Clone, Debug)]
enum Status {
    Opening,
    Live,
    /// The last attempt failed; another one follows.
    Away(Failure),
}

impl Default for Watcher {
    fn default() -> Self {
        Self {
            task: Mutex::default(),
            status: watch::channel(Status::Opening).0,
            events: broadcast::channel(SUBSCRIBER_BUFFER).0,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Watcher {
    /// What happens from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Whether anybody listens.
    fn has_subscribers(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Tells the subscribers.
    pub(crate) fn publish(&self, event: Event) {
        // An error means that nobody listens.
        let _ = self.events.send(event);
    }
}

/// Begins to watch the engine for the cache, if that is wanted and not yet done.
pub(crate) fn keep(engine: &Arc<Engine>) {
    if engine.options.cache {
        begin(engine);
    }
}

/// Begins to watch, and waits until the stream is open or cannot be opened.
pub(crate) async fn open(engine: &Arc<Engine>) -> Result<()> {
    begin(engine);
    let mut status = engine.watcher.status.subscribe();
    let found = status
        .wait_for(|status| !matches!(status, Status::Opening))
        .await
        .map(|status| status.clone());
    match found {
        Ok(Status::Away(failure)) => Err(error::engine(failure)),
        Ok(_) => Ok(()),
        Err(_) => Err(DriverError::internal(
            "the task that reads the engine's events has ended",
        )),
    }
}

/// Begins to watch the engine, if that is not yet done.
pub(crate) fn begin(engine: &Arc<Engine>) {
    let mut task = engine.watcher.task.lock().unwrap_or_else(PoisonError::into_inner);
    // A task ends early only with its runtime: then another runtime uses the driver now.
    if task.as_ref().is_none_or(AbortHandle::is_finished) && !engine.is_shut_down() {
        let reader = tokio::spawn(read_for_ever(Arc::downgrade(engine)));
        *task = Some(reader.abort_handle());
    }
}

async fn read_for_ever(engine: Weak<Engine>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(opened) = open_stream(&engine).await else {
            return;
        };
        let failure = match opened {
            Ok(stream) => {
                pause = FIRST_PAUSE;
                match read_stream(&engine, stream).await {
                    Some(failure) => failure,
                    None => return,
                }
            }
            Err(failure) => failure,
        };
        let Some(engine) = engine.upgrade() else { return };
        engine.records.set_live(false);
        let was_live = matches!(*engine.watcher.status.borrow(), Status::Live);
        engine.watcher.status.send_replace(Status::Away(failure));
        if was_live {
            engine.watcher.publish(lagged());
        }
        drop(engine);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

type Chunks = std::pin::Pin<Box<dyn Stream<Item = Result<bytes::Bytes, Failure>> + Send>>;

/// `None`: the driver is gone.
async fn open_stream(engine: &Weak<Engine>) -> Option<Result<Chunks, Failure>> {
    let engine = engine.upgrade()?;
    let opened = async {
        // The engine answers before it subscribes. What happens in between is in its buffer, by its own clock.
        let since = engine.client.get("/info").value::<Info>().await?.system_time;
        let filters = BTreeMap::from([("type", ["container", "image", "volume", "network"])]);
        let mut call = engine.client.get("/events").filters(&filters);
        if let Some(since) = parse_ms(&since) {
            // Seconds and nanoseconds are all that every engine reads.
            call = call.query("since", format!("{}.{:03}000000", since / 1000, since % 1000));
        }
        let stream = call.stream().await?;
        let stream: Chunks = Box::pin(stream);
        Ok(stream)
    };
    let timeout = |_| {
        Err(Failure::Broken(
            "the engine did not open its event stream in time".into(),
        ))
    };
    let opened = tokio::time::timeout(OPEN_LIMIT, opened)
        .await
        .unwrap_or_else(timeout);
    if opened.is_ok() {
        engine.records.set_live(true);
        engine.watcher.status.send_replace(Status::Live);
    }
    Some(opened)
}

/// Reads until the stream ends, and tells why; `None`: the driver is gone.
async fn read_stream(engine: &Weak<Engine>, mut stream: Chunks) -> Option<Failure> {
    let (sender, receiver) = mpsc::channel(TRANSLATION_BUFFER);
    let translator = tokio::spawn(events::translate(engine.clone(), receiver));
    let _ends_with_the_stream = AbortOnDrop(translator.abort_handle());
    let mut lines = Lines::default();
    let mut refreshed = tokio::time::Instant::now();
    loop {
        let chunk = tokio::time::timeout(SILENCE, stream.next()).await;
        let engine = engine.upgrade()?;
        if refreshed.elapsed() >= REFRESH {
            engine.records.set_live(true);
            refreshed = tokio::time::Instant::now();
        }
        match chunk {
            Ok(Some(Ok(bytes))) => {
                if let Err(failure) = lines.push(&bytes) {
                    return Some(failure);
                }
                for event in lines.take() {
                    notice(&engine, event, &sender);
                }
            }
            Ok(Some(Err(failure))) => return Some(failure),
            Ok(None) => return Some(Failure::Broken("the engine ended its event stream".into())),
            Err(_silence) => match tokio::time::timeout(SILENCE, engine.client.ping()).await {
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => return Some(failure),
                Err(_) => return Some(Failure::Broken("the engine does not answer".into())),
            },
        }
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes stale what an event is about, at once; then hands it over to be translated.
fn notice(engine: &Engine, event: EngineEvent, translator: &mpsc::Sender<Noticed>) {
    let attributes = &event.actor.attributes;
    let mut death = None;
    match event.kind.as_str() {
        "container" => {
            let id = event.actor.id.as_str();
            // The action of an exec has its command line, which may have secrets: never to a log.
            match event.action.as_str() {
                "destroy" | "remove" => {
                    engine.records.forget(id);
                    engine.kernel_log.forget(id);
                }
                "die" | "died" if engine.owns(attributes) => {
                    let record = engine.records.of(id);
                    let exit = events::exit_of_event(attributes, event.epoch_ms());
                    let killed = || engine.kernel_log.take(id);
                    death = Some(record.remember(|memory| memory.died(exit, killed)));
                    record.changed();
                }
                "oom" if engine.owns(attributes) => {
                    let record = engine.records.of(id);
                    let is_news = record.remember(|memory| memory.told_oom(event.epoch_ms()));
                    record.changed();
                    if !is_news {
                        return;
                    }
                }
                "start" if engine.owns(attributes) => {
                    let record = engine.records.of(id);
                    record.remember(Memory::began);
                    record.changed();
                }
                "create" if engine.owns(attributes) => engine.records.appeared(id),
                action if action.starts_with("exec_") => return,
                "attach" | "top" | "resize" | "archive-path" | "extract-to-dir" | "export" | "copy" => return,
                _ => engine.records.changed(id),
            }
            if attributes.get(labels::OWNER) != Some(&engine.options.owner) {
                return;
            }
        }
        // A connection to a network changes a container's addresses.
        "network" => {
            if let Some(id) = attributes.get("container") {
                engine.records.changed(id);
                return;
            }
        }
        _ => {}
    }
    let noticed = Noticed { event, death };
    if engine.watcher.has_subscribers() && translator.try_send(noticed).is_err() {
        engine.watcher.publish(lagged());
    }
}

fn lagged() -> Event {
    Event {
        time: crate::time::now_ms(),
        container_id: None,
        session_id: None,
        kind: EventKind::Lagged,
    }
}

/// Splits the stream into its lines of JSON.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.rest.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(Failure::Malformed(format!(
                "an event has more than {MAX_EVENT_BYTES} bytes"
            )));
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// The events that are complete. What is not an event is passed over.
    fn take(&mut self) -> Vec<EngineEvent> {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let complete: Vec<u8> = self.rest.drain(..=end).collect();
        complete
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn events_are_found_whatever_the_pieces() {
        let text = b"{\"Type\":\"a\"}\nnonsense\n\n{\"Type\":\"b\"}\n{\"Type\":\"c\"";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece).unwrap();
                found.extend(lines.take().into_iter().map(|event| event.kind));
            }
            assert_eq!(found, ["a", "b"], "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..20).any(|_| lines.push(&piece).is_err());
        assert!(refused);
    }
}
