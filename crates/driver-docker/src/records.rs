//! What the driver remembers of each container beyond what the engine tells: the order of calls, why a run ended, how
//! many runs there were, and the cached snapshot.
//!
//! The cache is invalidation only. Every event of a container and every own change makes its snapshot stale; the next
//! read asks the engine and stores the answer, unless something happened meanwhile. Without a live event stream
//! nothing is answered from it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use driver_types::{ContainerInstance, ExitInfo};
use tokio::sync::watch;

use crate::time::parse_ms;

/// The records of all containers that the driver has seen.
#[derive(Debug, Default)]
pub(crate) struct Records {
    by_id: RwLock<HashMap<String, Arc<Record>>>,
    /// Whether an event stream keeps the snapshots fresh.
    live: AtomicBool,
    members: Mutex<Members>,
    loads: AtomicU64,
}

/// Which containers the owner has.
#[derive(Debug, Default)]
enum Members {
    /// Not known.
    #[default]
    Unknown,
    /// The engine is being asked; what appears and goes meanwhile is noted.
    Loading {
        /// Which of several askers this is about.
        load: u64,
        appeared: HashSet<String>,
        gone: HashSet<String>,
    },
    /// All of them.
    Known(HashSet<String>),
}

/// One container.
#[derive(Debug)]
pub(crate) struct Record {
    /// State-changing calls take it in the order of arrival.
    pub(crate) order: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    /// Grows with every change, for those who wait.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Option<Arc<ContainerInstance>>,
    memory: Memory,
}

/// What only the driver knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The start time of the run that `stop_container` ended, as the engine writes it.
    pub(crate) stopped_run: Option<String>,
    /// Whether `remove_container` with force was asked for.
    pub(crate) removing: bool,
    /// The start time of the last run that was seen, as the engine writes it.
    pub(crate) last_run: Option<String>,
    /// How many runs came before that one, as far as this driver has seen.
    pub(crate) restarts: u32,
    /// Whether this driver made it, and has copied nothing into it: then its files are those of its image.
    pub(crate) pristine: bool,
    /// When it last ran out of memory, in epoch milliseconds: by the engine's event, or the end of the run for which
    /// the kernel's log says so.
    pub(crate) oom_at: Option<u64>,
    /// The kill in the kernel's log, by its time there in microseconds, that was taken for the end of a run by time: a
    /// run that follows at once must not take it again.
    pub(crate) oom_kill: Option<u64>,
    /// When that was last told to those who listen.
    pub(crate) oom_told: Option<u64>,
    /// When this driver last asked for a start.
    pub(crate) start_asked_at: Option<u64>,
    /// What the last event of a death told.
    pub(crate) last_death: Option<ExitInfo>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            order: Arc::default(),
            state: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }
}

impl Records {
    /// The record of a container, made if there is none.
    pub(crate) fn of(&self, id: &str) -> Arc<Record> {
        if let Some(record) = self.get(id) {
            return record;
        }
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_id.entry(id.to_owned()).or_default())
    }

    /// The record of a container, if there is one.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Record>> {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        by_id.get(id).cloned()
    }

    /// Forgets a container that is gone. Those who hold its record learn of it.
    pub(crate) fn forget(&self, id: &str) {
        let record = self
            .by_id
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        self.members().remove(id);
        if let Some(record) = record {
            record.changed();
        }
    }

    /// Something happened to a container, or may have.
    pub(crate) fn changed(&self, id: &str) {
        if let Some(record) = self.get(id) {
            record.changed();
        }
    }

    /// A container of the owner exists.
    pub(crate) fn appeared(&self, id: &str) {
        self.members().insert(id);
        self.changed(id);
    }

    /// Whether snapshots may be used.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// The event stream has begun, or has ended. Either way everything may have changed unseen.
    pub(crate) fn set_live(&self, live: bool) {
        // Not live before the snapshots go, live only after.
        self.live.store(false, Ordering::Release);
        *self.members() = Members::Unknown;
        let records: Vec<_> = {
            let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
            by_id.values().cloned().collect()
        };
        for record in records {
            record.changed();
        }
        self.live.store(live, Ordering::Release);
    }

    /// The snapshot of a container, where it is surely fresh.
    pub(crate) fn snapshot(&self, id: &str) -> Option<Arc<ContainerInstance>> {
        if !self.is_live() {
            return None;
        }
        self.get(id)?.lock().snapshot.clone()
    }

    /// The snapshots of all containers of the owner, where they are surely complete and fresh.
    pub(crate) fn all_snapshots(&self) -> Option<Vec<Arc<ContainerInstance>>> {
        if !self.is_live() {
            return None;
        }
        let Members::Known(ids) = &*self.members() else {
            return None;
        };
        ids.iter().map(|id| self.snapshot(id)).collect()
    }

    /// Notes that the engine is going to be asked which containers there are.
    pub(crate) fn begin_members(&self) -> Option<u64> {
        let mut members = self.members();
        if !self.is_live() || !matches!(*members, Members::Unknown) {
            return None;
        }
        let load = self.loads.fetch_add(1, Ordering::Relaxed);
        *members = Members::Loading {
            load,
            appeared: HashSet::new(),
            gone: HashSet::new(),
        };
        Some(load)
    }

    /// Stores the engine's answer, or gives up (`None`). Does nothing if the stream was lost meanwhile.
    pub(crate) fn end_members(&self, asked: u64, ids: Option<HashSet<String>>) {
        let mut members = self.members();
        let Members::Loading { load, appeared, gone } = &mut *members else {
            return;
        };
        if *load != asked {
            return;
        }
        *members = match ids {
            Some(ids) => {
                let mut known = ids;
                known.extend(std::mem::take(appeared));
                known.retain(|id| !gone.contains(id));
                Members::Known(known)
            }
            None => Members::Unknown,
        };
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn insert(&mut self, id: &str) {
        match self {
            Self::Unknown => {}
            Self::Loading { appeared, .. } => {
                appeared.insert(id.to_owned());
            }
            Self::Known(ids) => {
                ids.insert(id.to_owned());
            }
        }
    }

    fn remove(&mut self, id: &str) {
        match self {
            Self::Unknown => {}
            Self::Loading { gone, .. } => {
                gone.insert(id.to_owned());
            }
            Self::Known(ids) => {
                ids.remove(id);
            }
        }
    }
}

impl Record {
    /// Makes the snapshot stale and wakes those who wait.
    pub(crate) fn changed(&self) {
        self.lock().snapshot = None;
        self.changes.send_modify(|version| *version += 1);
    }

    /// Which version of the container a snapshot that is begun now will be of.
    pub(crate) fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Stores a snapshot that was begun at `version`, unless something has happened since.
    pub(crate) fn store(&self, version: u64, snapshot: Arc<ContainerInstance>) {
        let mut state = self.lock();
        if self.version() == version {
            state.snapshot = Some(snapshot);
        }
    }

    /// Wakes at each change from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What only the driver knows of the container.
    pub(crate) fn memory(&self) -> Memory {
        self.lock().memory.clone()
    }

    /// Changes what only the driver knows of the container.
    pub(crate) fn remember<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(&mut self.lock().memory)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Notes the run that the engine reports: a start time that is new is a new run.
    pub(crate) fn saw_run(&mut self, started_at: &str) {
        let known = self.last_run.as_deref().and_then(parse_ms);
        // Answers may overtake each other: an older run is no new one.
        if parse_ms(started_at) > known {
            if self.last_run.is_some() {
                self.restarts += 1;
            }
            self.last_run = Some(started_at.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ids(names: &[&str]) -> HashSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn known(records: &Records) -> Option<HashSet<String>> {
        match &*records.members() {
            Members::Known(ids) => Some(ids.clone()),
            _ => None,
        }
    }

    #[test]
    fn what_happens_while_the_engine_is_asked_is_not_lost() {
        let records = Records::default();
        records.set_live(true);
        let load = records.begin_members().unwrap();
        records.appeared("new");
        records.forget("old");
        records.end_members(load, Some(ids(&["old", "kept"])));
        assert_eq!(known(&records), Some(ids(&["new", "kept"])));
        records.appeared("later");
        records.forget("kept");
        assert_eq!(known(&records), Some(ids(&["new", "later"])));
    }

    #[test]
    fn a_lost_stream_forgets_the_members_and_a_late_answer_does_not_bring_them_back() {
        let records = Records::default();
        assert_eq!(records.begin_members(), None);
        records.set_live(true);
        let first = records.begin_members().unwrap();
        records.set_live(false);
        records.set_live(true);
        let second = records.begin_members().unwrap();
        records.end_members(first, Some(ids(&["stale"])));
        assert_eq!(known(&records), None);
        records.end_members(second, None);
        assert!(records.begin_members().is_some());
    }

    #[test]
    fn a_new_start_time_is_a_new_run() {
        let mut memory = Memory::default();
        memory.saw_run("0001-01-01T00:00:00Z");
        assert_eq!(memory, Memory::default());
        memory.saw_run("2026-01-01T00:00:00Z");
        memory.saw_run("2026-01-01T00:00:00Z");
        assert_eq!(memory.restarts, 0);
        memory.saw_run("2026-01-01T00:00:01Z");
        assert_eq!(memory.restarts, 1);
    }
}
