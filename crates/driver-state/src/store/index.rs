//! The indexes of one owner's containers.

use std::collections::{BTreeMap, BTreeSet};

use driver_types::{ContainerInstance, ContainerStatus, Labels};

use crate::map::HashMap;

/// A container in an index, in the order of age: by time of making, then by arrival in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) created_at: u64,
    pub(super) sequence: u64,
    pub(super) slot: usize,
}

pub(super) type Keys = BTreeSet<Key>;

/// Who has a name or a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// A reservation, by its ticket.
    Reserved(u64),
    /// A container.
    Held(Key),
}

#[derive(Debug, Default)]
pub(super) struct OwnerIndex {
    pub(super) members: Keys,
    /// Sorted, for look-ups by prefix.
    pub(super) names: BTreeMap<Box<str>, Claim>,
    pub(super) requests: HashMap<Box<str>, Claim>,
    pub(super) sessions: HashMap<Box<str>, Keys>,
    pub(super) labels: HashMap<Box<str>, HashMap<Box<str>, Keys>>,
    statuses: [Keys; ContainerStatus::ALL.len()],
}

impl OwnerIndex {
    pub(super) fn status(&self, status: ContainerStatus) -> &Keys {
        &self.statuses[status as usize]
    }

    pub(super) fn label(&self, key: &str, value: &str) -> Option<&Keys> {
        self.labels.get(key)?.get(value)
    }

    /// Adds a container to all indexes but names and requests, which are claimed.
    pub(super) fn add(&mut self, key: Key, instance: &ContainerInstance) {
        self.members.insert(key);
        self.statuses[instance.status as usize].insert(key);
        add_to(&mut self.sessions, &instance.session_id, key);
        for (label, value) in &instance.labels {
            let values = match self.labels.get_mut(label.as_str()) {
                Some(values) => values,
                None => self.labels.entry(label.as_str().into()).or_default(),
            };
            add_to(values, value, key);
        }
    }

    /// Takes a container out of all indexes, names and requests included.
    pub(super) fn remove(&mut self, key: Key, instance: &ContainerInstance, request_id: Option<&str>) {
        self.members.remove(&key);
        self.statuses[instance.status as usize].remove(&key);
        self.names.remove(instance.name.as_str());
        if let Some(request_id) = request_id {
            self.requests.remove(request_id);
        }
        remove_from(&mut self.sessions, &instance.session_id, key);
        self.remove_labels(key, &instance.labels);
    }

    fn remove_labels(&mut self, key: Key, labels: &Labels) {
        for (label, value) in labels {
            if let Some(values) = self.labels.get_mut(label.as_str()) {
                remove_from(values, value, key);
                if values.is_empty() {
                    self.labels.remove(label.as_str());
                }
            }
        }
    }

    pub(super) fn change_status(&mut self, key: Key, from: ContainerStatus, to: ContainerStatus) {
        if from != to {
            self.statuses[from as usize].remove(&key);
            self.statuses[to as usize].insert(key);
        }
    }
}

fn add_to(sets: &mut HashMap<Box<str>, Keys>, value: &str, key: Key) {
    match sets.get_mut(value) {
        Some(keys) => {
            keys.insert(key);
        }
        None => {
            sets.insert(value.into(), Keys::from([key]));
        }
    }
}

fn remove_from(sets: &mut HashMap<Box<str>, Keys>, value: &str, key: Key) {
    if let Some(keys) = sets.get_mut(value) {
        keys.remove(&key);
        if keys.is_empty() {
            sets.remove(value);
        }
    }
}
