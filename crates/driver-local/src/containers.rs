//! All containers of a state directory, as one driver sees them: a cache that is brought up to date by the sizes of
//! journals, and the one place where changes become events.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver_types::{DriverError, Event, EventKind, Result};
use tokio::sync::{broadcast, mpsc, watch};

use crate::container::Container;
use crate::journal::{self, Record, Story};
use crate::layout::Layout;
use crate::spec::Spec;
use crate::time::now_ms;

/// Events that a slow reader may be behind before it is told that it lagged.
const EVENTS_KEPT: usize = 4096;

/// The cache. See the module's page.
#[derive(Debug)]
pub(crate) struct Containers {
    layout: Layout,
    owner: Arc<str>,
    cache: Mutex<HashMap<String, Entry>>,
    events: broadcast::Sender<Event>,
    /// Told what is to be watched: each journal, and the logs that somebody follows.
    wanted: mpsc::UnboundedSender<Wanted>,
}

/// A file that the watcher is to watch.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// The journal of the container of this id.
    Journal(String),
    /// Its log.
    Log(String),
}

#[derive(Debug)]
struct Entry {
    spec: Arc<Spec>,
    story: Story,
    /// How much of the journal is in the story.
    read: u64,
    changed: watch::Sender<()>,
}

impl Containers {
    /// An empty cache, and what its watcher is to watch.
    pub(crate) fn new(layout: Layout, owner: Arc<str>) -> (Self, mpsc::UnboundedReceiver<Wanted>) {
        let (wanted, files) = mpsc::unbounded_channel();
        let containers = Self {
            layout,
            owner,
            cache: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            wanted,
        };
        (containers, files)
    }

    /// A container of this owner as it is now.
    ///
    /// # Errors
    ///
    /// `CONTAINER_NOT_FOUND`, also for another owner's; `FILE_SYSTEM_ERROR` where the state cannot be read.
    pub(crate) fn find(&self, id: &str) -> Result<Container> {
        self.get(id)?.ok_or_else(|| DriverError::container_not_found(id))
    }

    /// Likewise, with `None` where there is none.
    pub(crate) fn get(&self, id: &str) -> Result<Option<Container>> {
        let found = self.look(id)?;
        Ok(found.filter(|container| *container.spec.owner == *self.owner))
    }

    /// All containers of this owner, or of every owner, in no order.
    pub(crate) fn list(&self, all_owners: bool) -> Result<Vec<Container>> {
        let ids = self.ids()?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(container) = self.look(&id)?
                && (all_owners || *container.spec.owner == *self.owner)
            {
                found.push(container);
            }
        }
        Ok(found)
    }

    /// The name of a container of which `uses` holds, of this owner or of any.
    pub(crate) fn user(&self, all_owners: bool, uses: impl Fn(&Spec) -> bool) -> Result<Option<String>> {
        let all = self.list(all_owners)?;
        let user = all.iter().find(|container| uses(&container.spec));
        Ok(user.map(|user| user.spec.name.clone()))
    }

    /// The ids of all containers on disk.
    fn ids(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.layout.containers()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| Layout::is_id(name)).collect())
    }

    /// Looks at a container of any owner. What is new in its journal becomes events, in order and once.
    pub(crate) fn look(&self, id: &str) -> Result<Option<Container>> {
        if !Layout::is_id(id) {
            return Ok(None);
        }
        let mut cache = self.cache();
        let changed = self.update(&mut cache, id);
        match changed {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.forget(&mut cache, id);
                return Ok(None);
            }
            Err(error) => return Err(unreadable(&error)),
        }
        let Some(entry) = cache.get(id) else {
            return Ok(None);
        };
        Ok(Some(Container {
            spec: Arc::clone(&entry.spec),
            dir: self.layout.container(id),
            story: entry.story.clone(),
        }))
    }

    fn update(&self, cache: &mut HashMap<String, Entry>, id: &str) -> io::Result<()> {
        let dir = self.layout.container(id);
        let is_new = !cache.contains_key(id);
        // Before the journal is read: a shim writes the end of its run first and lets its lock go then.
        let has_shim = !is_new || dir.has_shim();
        let size = fs::metadata(dir.journal())?.size();
        if is_new {
            let spec = fs::read(dir.spec())?;
            self.enter(cache, Arc::new(serde_json::from_slice(&spec)?));
        }
        let Some(entry) = cache.get_mut(id).filter(|entry| entry.read != size) else {
            return Ok(());
        };
        let mut bytes = vec![0; usize::try_from(size.saturating_sub(entry.read)).unwrap_or_default()];
        File::open(dir.journal())?.read_exact_at(&mut bytes, entry.read)?;
        let (records, length) = journal::parse(&bytes);
        entry.read += length as u64;
        for record in records {
            let before = entry.story.clone();
            entry.story.add(&record);
            if let Some((kind, at)) = event_of(&before, &entry.story, &record) {
                self.tell(&entry.spec, kind, at);
            }
        }
        if !has_shim && entry.story.status().is_alive() {
            // Its shim was killed, or the machine was started anew. `recover` writes it down.
            entry.story.lose();
        }
        entry.changed.send_replace(());
        Ok(())
    }

    /// A container that was just made.
    pub(crate) fn add(&self, spec: Spec) {
        let mut cache = self.cache();
        // Somebody may have come across it.
        if !cache.contains_key(&spec.id) {
            self.enter(&mut cache, Arc::new(spec));
        }
    }

    fn enter(&self, cache: &mut HashMap<String, Entry>, spec: Arc<Spec>) {
        // Before the journal is read: what comes later wakes the watcher.
        let _ = self.wanted.send(Wanted::Journal(spec.id.clone()));
        self.tell(&spec, EventKind::Created, spec.created_at);
        let id = spec.id.clone();
        let entry = Entry {
            spec,
            story: Story::default(),
            read: 0,
            changed: watch::Sender::new(()),
        };
        cache.insert(id, entry);
    }

    fn forget(&self, cache: &mut HashMap<String, Entry>, id: &str) {
        if let Some(entry) = cache.remove(id) {
            self.tell(&entry.spec, EventKind::Removed, now_ms());
            entry.changed.send_replace(());
        }
    }

    fn tell(&self, spec: &Spec, kind: EventKind, time: u64) {
        if *spec.owner == *self.owner {
            // Nobody listens: fine.
            let _ = self.events.send(Event {
                time,
                container_id: Some(spec.id.clone()),
                session_id: Some(spec.config.session_id.clone()),
                kind,
            });
        }
    }

    /// An event that is not of a container's journal: its health, or of an image, volume or network.
    pub(crate) fn publish(&self, container: Option<&Spec>, kind: EventKind) {
        match container {
            Some(spec) => self.tell(spec, kind, now_ms()),
            None => {
                let _ = self.events.send(Event {
                    time: now_ms(),
                    container_id: None,
                    session_id: None,
                    kind,
                });
            }
        }
    }

    /// The events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Wakes at each change of a container that is in the cache, also at its removal.
    pub(crate) fn watch(&self, id: &str) -> Option<watch::Receiver<()>> {
        self.cache().get(id).map(|entry| entry.changed.subscribe())
    }

    /// From now on [`watch`](Self::watch) wakes also when the log of this container grows. A repeat does nothing.
    pub(crate) fn watch_log(&self, id: &str) {
        let _ = self.wanted.send(Wanted::Log(id.to_owned()));
    }

    /// Wakes those who watch a container: its log has grown.
    pub(crate) fn log_grew(&self, id: &str) {
        if let Some(entry) = self.cache().get(id) {
            entry.changed.send_replace(());
        }
    }

    /// Takes a fresh look at everything: for a watcher that missed something.
    pub(crate) fn look_at_all(&self) {
        let known: Vec<String> = self.cache().keys().cloned().collect();
        let found = self.ids().unwrap_or_default();
        for id in known.iter().chain(&found) {
            let _ = self.look(id);
        }
    }

    /// Appends a record to a container's journal and reads it back.
    pub(crate) fn record(&self, container: &Container, record: &Record) -> Result<Container> {
        journal::append(&container.dir.journal(), record).map_err(|error| unwritable(&error))?;
        self.look(container.id())?
            .ok_or_else(|| DriverError::container_not_found(container.id()))
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a record means to those who listen.
fn event_of(before: &Story, after: &Story, record: &Record) -> Option<(EventKind, u64)> {
    let run = after.run.as_ref();
    let was_oom = before.run.as_ref().is_some_and(|run| run.oom);
    match record {
        Record::Started { at, .. } => Some((EventKind::Started, *at)),
        Record::Paused { at, .. } => Some((EventKind::Paused, *at)),
        Record::Resumed { at, .. } => Some((EventKind::Resumed, *at)),
        Record::Oom { at, .. } if !was_oom => Some((EventKind::Oom, *at)),
        Record::Exited { at, .. } => {
            let exit = run?.exit.clone()?;
            Some((EventKind::Exited { exit }, *at))
        }
        _ => None,
    }
}

/// The state directory cannot be read.
pub(crate) fn unreadable(error: &io::Error) -> DriverError {
    DriverError::file_system(format!("the state directory cannot be read: {error}"))
}

/// The state directory cannot be written.
pub(crate) fn unwritable(error: &io::Error) -> DriverError {
    DriverError::file_system(format!("the state directory cannot be written: {error}"))
}
