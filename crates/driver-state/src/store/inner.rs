//! What the lock of the store guards: records and indexes, which change together.

use std::collections::btree_map::Entry as NameEntry;
use std::collections::hash_map::Entry as RequestEntry;
use std::sync::Arc;

use driver_types::{ContainerFilter, ContainerInstance, DriverError, Result};

use super::index::{Claim, Key, OwnerIndex};
use super::query::candidates;
use super::slots::Slots;
use super::{Conflict, ContainerMut, Record, Scope};
use crate::map::HashMap;

#[derive(Debug)]
pub(super) struct Inner<T> {
    slots: Slots<(Key, Record<T>)>,
    ids: HashMap<Box<str>, usize>,
    owners: HashMap<Arc<str>, OwnerIndex>,
    /// The last ticket or arrival number given.
    sequence: u64,
}

impl<T> Default for Inner<T> {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            ids: HashMap::default(),
            owners: HashMap::default(),
            sequence: 0,
        }
    }
}

impl<T> Inner<T> {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Claims name and request id; the result is the ticket.
    pub(super) fn claim(
        &mut self,
        owner: &Arc<str>,
        name: &str,
        request_id: Option<&str>,
    ) -> Result<u64, Conflict> {
        self.refuse_taken(owner, name, request_id)?;
        let ticket = self.next();
        self.set_claim(owner, name, request_id, Claim::Reserved(ticket));
        Ok(ticket)
    }

    /// Frees what the ticket claimed and still has.
    pub(super) fn release(&mut self, ticket: u64, owner: &str, name: &str, request_id: Option<&str>) {
        let Some(index) = self.owners.get_mut(owner) else {
            return;
        };
        let claim = Claim::Reserved(ticket);
        if let NameEntry::Occupied(entry) = index.names.entry(name.into())
            && *entry.get() == claim
        {
            entry.remove();
        }
        if let Some(request_id) = request_id
            && let RequestEntry::Occupied(entry) = index.requests.entry(request_id.into())
            && *entry.get() == claim
        {
            entry.remove();
        }
    }

    /// Puts a container in whose name and request id the ticket claimed.
    pub(super) fn commit(
        &mut self,
        ticket: u64,
        record: Record<T>,
    ) -> Result<Arc<ContainerInstance>, Conflict> {
        let claimed = self
            .owners
            .get(&record.owner)
            .and_then(|index| index.names.get(record.instance.name.as_str()));
        if claimed != Some(&Claim::Reserved(ticket)) {
            return Err(Conflict::Cleared);
        }
        self.put(record)
    }

    pub(super) fn insert(&mut self, record: Record<T>) -> Result<Arc<ContainerInstance>, Conflict> {
        self.refuse_taken(&record.owner, &record.instance.name, record.request_id.as_deref())?;
        self.put(record)
    }

    fn put(&mut self, record: Record<T>) -> Result<Arc<ContainerInstance>, Conflict> {
        let instance = Arc::clone(&record.instance);
        if self.ids.contains_key(instance.id.as_str()) {
            return Err(Conflict::Id {
                id: instance.id.clone(),
            });
        }
        let key = Key {
            created_at: instance.created_at,
            sequence: self.next(),
            slot: self.slots.next(),
        };
        let name = instance.name.as_str();
        let index = self.set_claim(
            &record.owner,
            name,
            record.request_id.as_deref(),
            Claim::Held(key),
        );
        index.add(key, &instance);
        self.ids.insert(instance.id.as_str().into(), key.slot);
        self.slots.insert((key, record));
        Ok(instance)
    }

    pub(super) fn remove(&mut self, scope: Scope<'_>, id: &str) -> Option<Record<T>> {
        let slot = self.slot(scope, id)?;
        self.ids.remove(id);
        let (key, record) = self.slots.remove(slot)?;
        if let Some(index) = self.owners.get_mut(&record.owner) {
            index.remove(key, &record.instance, record.request_id.as_deref());
        }
        Some(record)
    }

    /// Empties the store and returns what was in it. Numbers go on, so that no old ticket fits a new claim.
    pub(super) fn clear(&mut self) -> Self {
        let sequence = self.sequence;
        std::mem::replace(
            self,
            Self {
                sequence,
                ..Self::default()
            },
        )
    }

    pub(super) fn update<R>(
        &mut self,
        scope: Scope<'_>,
        id: &str,
        change: impl FnOnce(&mut ContainerMut<'_, T>) -> R,
    ) -> Result<R> {
        let not_found = || DriverError::container_not_found(id);
        let slot = self.slot(scope, id).ok_or_else(not_found)?;
        let (key, record) = self.slots.get_mut(slot).ok_or_else(not_found)?;
        let from = record.instance.status;
        let mut to = from;
        // The instance has its old status until `change` is through: if it panics, the index still agrees.
        let instance = Arc::make_mut(&mut record.instance);
        let result = change(&mut ContainerMut::new(instance, &mut to, &mut record.data));
        instance.status = to;
        instance.state = to.state();
        if let Some(index) = self.owners.get_mut(&record.owner) {
            index.change_status(*key, from, to);
        }
        Ok(result)
    }

    pub(super) fn record(&self, scope: Scope<'_>, id: &str) -> Option<&Record<T>> {
        self.at(self.slot(scope, id)?)
    }

    pub(super) fn by_name(&self, owner: &str, name: &str) -> Option<&Record<T>> {
        self.holder(self.owners.get(owner)?.names.get(name)?)
    }

    pub(super) fn by_request(&self, owner: &str, request_id: &str) -> Option<&Record<T>> {
        self.holder(self.owners.get(owner)?.requests.get(request_id)?)
    }

    pub(super) fn select(&self, scope: Scope<'_>, filter: &ContainerFilter) -> Vec<&Record<T>> {
        let keys = match scope {
            Scope::Owner(owner) if !filter.all_owners => self
                .owners
                .get(owner)
                .map(|index| candidates(index, filter))
                .unwrap_or_default(),
            _ => {
                let mut keys: Vec<Key> = self
                    .owners
                    .values()
                    .flat_map(|index| candidates(index, filter))
                    .collect();
                keys.sort_unstable();
                keys
            }
        };
        keys.into_iter()
            .filter_map(|key| self.at(key.slot))
            .filter(|record| filter.matches(&record.instance))
            .collect()
    }

    pub(super) fn count(&self, scope: Scope<'_>) -> usize {
        match scope {
            Scope::Owner(owner) => self.owners.get(owner).map_or(0, |index| index.members.len()),
            Scope::All => self.ids.len(),
        }
    }

    fn slot(&self, scope: Scope<'_>, id: &str) -> Option<usize> {
        let slot = *self.ids.get(id)?;
        scope.covers(&self.at(slot)?.owner).then_some(slot)
    }

    fn at(&self, slot: usize) -> Option<&Record<T>> {
        self.slots.get(slot).map(|(_, record)| record)
    }

    fn holder(&self, claim: &Claim) -> Option<&Record<T>> {
        match claim {
            Claim::Held(key) => self.at(key.slot),
            Claim::Reserved(_) => None,
        }
    }

    fn refuse_taken(&self, owner: &str, name: &str, request_id: Option<&str>) -> Result<(), Conflict> {
        let Some(index) = self.owners.get(owner) else {
            return Ok(());
        };
        let holder = |claim: &Claim| self.holder(claim).map(|record| record.instance.id.clone());
        // A repeated request usually repeats the name too: what it should hear of is the request.
        if let Some(request_id) = request_id
            && let Some(claim) = index.requests.get(request_id)
        {
            return Err(Conflict::RequestId {
                request_id: request_id.to_owned(),
                holder: holder(claim),
            });
        }
        match index.names.get(name) {
            Some(claim) => Err(Conflict::Name {
                name: name.to_owned(),
                holder: holder(claim),
            }),
            None => Ok(()),
        }
    }

    fn set_claim(
        &mut self,
        owner: &Arc<str>,
        name: &str,
        request_id: Option<&str>,
        claim: Claim,
    ) -> &mut OwnerIndex {
        let index = self.owners.entry(Arc::clone(owner)).or_default();
        match index.names.get_mut(name) {
            Some(own) => *own = claim,
            None => {
                index.names.insert(name.into(), claim);
            }
        }
        if let Some(request_id) = request_id {
            index.requests.insert(request_id.into(), claim);
        }
        index
    }
}
