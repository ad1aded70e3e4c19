//! [`NamedStore`]: volumes and networks, and who uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use driver_types::{DriverError, Network, NetworkConfig, Result, Volume, VolumeConfig};

use crate::hold::Hold;
use crate::map::HashMap;
use crate::store::Scope;
use crate::sync::{RwLock, read, write};

/// An object that containers use, found by id or name.
pub trait NamedObject: Clone + fmt::Debug + Send + Sync + 'static {
    /// What it is made from. Equal specs of one name are one object.
    type Spec: Clone + PartialEq + fmt::Debug + Send + Sync + 'static;

    /// Its id.
    fn id(&self) -> &str;
    /// Its name.
    fn name(&self) -> &str;
    /// The error where there is none of this id or name.
    fn not_found(id: &str) -> DriverError;
    /// The error of a create.
    fn creation_failed(name: &str, message: String) -> DriverError;
    /// The error of a remove.
    fn remove_failed(id: &str, message: String) -> DriverError;
}

impl NamedObject for Volume {
    type Spec = VolumeConfig;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn not_found(id: &str) -> DriverError {
        DriverError::volume_not_found(id)
    }

    fn creation_failed(name: &str, message: String) -> DriverError {
        DriverError::volume_creation(name, message)
    }

    fn remove_failed(id: &str, message: String) -> DriverError {
        DriverError::volume_remove(id, message)
    }
}

impl NamedObject for Network {
    type Spec = NetworkConfig;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn not_found(id: &str) -> DriverError {
        DriverError::network_not_found(id)
    }

    fn creation_failed(name: &str, message: String) -> DriverError {
        DriverError::network_creation(name, message)
    }

    fn remove_failed(id: &str, message: String) -> DriverError {
        DriverError::network_remove(id, message)
    }
}

/// The volumes, or the networks, of a driver. Names and ids are unique for each owner.
///
/// An object that a container uses, running or not, cannot be removed. A clone is another handle on the same store.
pub struct NamedStore<O: NamedObject> {
    inner: Arc<RwLock<Inner<O>>>,
}

struct Inner<O: NamedObject> {
    owners: BTreeMap<Arc<str>, Objects<O>>,
    /// The owner and names of what each container uses.
    uses: HashMap<String, (Arc<str>, BTreeSet<String>)>,
}

/// The objects of one owner.
struct Objects<O: NamedObject> {
    by_name: BTreeMap<String, Entry<O>>,
    names_by_id: HashMap<String, String>,
}

struct Entry<O: NamedObject> {
    object: O,
    spec: O::Spec,
    users: BTreeSet<String>,
}

impl<O: NamedObject> NamedStore<O> {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(RwLock::new(Inner::default())),
        }
    }

    /// The object of this name, or the one that `build` makes. Of two racing callers one builds. `build` must be short
    /// and must not call the store; a driver for which making takes time locks the name first
    /// ([`KeyedMutex`](crate::KeyedMutex)), looks with [`existing`](Self::existing), makes, and then calls this.
    ///
    /// # Errors
    ///
    /// `VOLUME_CREATION_FAILED` or `NETWORK_CREATION_FAILED`, permanent, where one of this name has another spec.
    pub fn create(
        &self,
        owner: &Arc<str>,
        name: &str,
        spec: &O::Spec,
        build: impl FnOnce() -> O,
    ) -> Result<O> {
        let mut inner = write(&self.inner);
        if let Some(object) = inner.existing(owner, name, spec)? {
            return Ok(object);
        }
        let object = build();
        let entry = Entry {
            object: object.clone(),
            spec: spec.clone(),
            users: BTreeSet::new(),
        };
        let objects = inner.owners.entry(Arc::clone(owner)).or_default();
        objects
            .names_by_id
            .insert(object.id().to_owned(), name.to_owned());
        objects.by_name.insert(name.to_owned(), entry);
        Ok(object)
    }

    /// The object of this name and spec, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub fn existing(&self, owner: &str, name: &str, spec: &O::Spec) -> Result<Option<O>> {
        read(&self.inner).existing(owner, name, spec)
    }

    /// The object of this id or name. An id counts before a name.
    pub fn get(&self, scope: Scope<'_>, id: &str) -> Option<O> {
        read(&self.inner)
            .entry(scope, id)
            .map(|entry| entry.object.clone())
    }

    /// The object of this id or name.
    ///
    /// # Errors
    ///
    /// `VOLUME_NOT_FOUND` or `NETWORK_NOT_FOUND`.
    pub fn require(&self, scope: Scope<'_>, id: &str) -> Result<O> {
        self.get(scope, id).ok_or_else(|| O::not_found(id))
    }

    /// All objects, by name.
    pub fn list(&self, scope: Scope<'_>) -> Vec<O> {
        let inner = read(&self.inner);
        let entries = inner
            .visible(scope)
            .flat_map(|(_, objects)| objects.by_name.values());
        let mut objects: Vec<O> = entries.map(|entry| entry.object.clone()).collect();
        objects.sort_by(|a, b| a.name().cmp(b.name()));
        objects
    }

    /// The ids of the containers that use it, sorted.
    ///
    /// # Errors
    ///
    /// `VOLUME_NOT_FOUND` or `NETWORK_NOT_FOUND`.
    pub fn users(&self, scope: Scope<'_>, id: &str) -> Result<Vec<String>> {
        let inner = read(&self.inner);
        let entry = inner.entry(scope, id).ok_or_else(|| O::not_found(id))?;
        Ok(entry.users.iter().cloned().collect())
    }

    /// Takes an object out, by id or name, and returns it.
    ///
    /// # Errors
    ///
    /// `VOLUME_NOT_FOUND` or `NETWORK_NOT_FOUND`; `VOLUME_REMOVE_FAILED` or `NETWORK_REMOVE_FAILED` where it is in use.
    pub fn remove(&self, scope: Scope<'_>, id: &str) -> Result<O> {
        let mut inner = write(&self.inner);
        let not_found = || O::not_found(id);
        let entry = inner.entry(scope, id).ok_or_else(not_found)?;
        if !entry.users.is_empty() {
            return Err(O::remove_failed(id, in_use(&entry.users)));
        }
        let (owner, name) = inner.find(scope, id).ok_or_else(not_found)?;
        let objects = inner.owners.get_mut(&owner).ok_or_else(not_found)?;
        let object = objects.by_name.remove(&name).ok_or_else(not_found)?.object;
        objects.names_by_id.remove(object.id());
        if objects.by_name.is_empty() {
            inner.owners.remove(&owner);
        }
        Ok(object)
    }

    /// Notes that a container uses these objects, all or none of them, until the answer is dropped, or until
    /// [`release`](Self::release) if it is [kept](Hold::keep). One hold a container: releasing releases all.
    ///
    /// # Errors
    ///
    /// `VOLUME_NOT_FOUND` or `NETWORK_NOT_FOUND` for the first that does not exist.
    pub fn hold<'a>(
        &self,
        owner: &Arc<str>,
        container: &str,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<Hold<O>> {
        let mut inner = write(&self.inner);
        let name = |id: &'a str| match inner.find(Scope::Owner(owner), id) {
            Some((_, name)) => Ok(name),
            None => Err(O::not_found(id)),
        };
        let names = ids.into_iter().map(name).collect::<Result<BTreeSet<String>>>()?;
        if names.is_empty() {
            return Ok(Hold::none(self.clone()));
        }
        for name in &names {
            if let Some(entry) = inner.entry_mut(owner, name) {
                entry.users.insert(container.to_owned());
            }
        }
        let (_, held) = inner
            .uses
            .entry(container.to_owned())
            .or_insert_with(|| (Arc::clone(owner), BTreeSet::new()));
        held.extend(names);
        Ok(Hold::new(self.clone(), container))
    }

    /// Notes that a container uses nothing any more. A repeat does nothing.
    pub fn release(&self, container: &str) {
        let mut inner = write(&self.inner);
        let Some((owner, names)) = inner.uses.remove(container) else {
            return;
        };
        for name in names {
            if let Some(entry) = inner.entry_mut(&owner, &name) {
                entry.users.remove(container);
            }
        }
    }

    /// Takes everything out, used or not.
    pub fn clear(&self) {
        let old = std::mem::take(&mut *write(&self.inner));
        drop(old);
    }
}

impl<O: NamedObject> Inner<O> {
    fn existing(&self, owner: &str, name: &str, spec: &O::Spec) -> Result<Option<O>> {
        match self
            .owners
            .get(owner)
            .and_then(|objects| objects.by_name.get(name))
        {
            Some(entry) if entry.spec == *spec => Ok(Some(entry.object.clone())),
            Some(_) => {
                let message = "one of this name has another spec; remove it, or choose another name";
                Err(O::creation_failed(name, message.to_owned()).permanent())
            }
            None => Ok(None),
        }
    }

    fn visible(&self, scope: Scope<'_>) -> impl Iterator<Item = (&Arc<str>, &Objects<O>)> {
        self.owners.iter().filter(move |(owner, _)| scope.covers(owner))
    }

    /// Owner and name of the object with this id or name.
    fn find(&self, scope: Scope<'_>, id: &str) -> Option<(Arc<str>, String)> {
        let by_id = self
            .visible(scope)
            .find_map(|(owner, objects)| Some((owner, objects.names_by_id.get(id)?)));
        let by_name = || {
            self.visible(scope)
                .find_map(|(owner, objects)| Some((owner, objects.by_name.get_key_value(id)?.0)))
        };
        by_id
            .or_else(by_name)
            .map(|(owner, name)| (Arc::clone(owner), name.clone()))
    }

    fn entry(&self, scope: Scope<'_>, id: &str) -> Option<&Entry<O>> {
        let (owner, name) = self.find(scope, id)?;
        self.owners.get(&owner)?.by_name.get(&name)
    }

    fn entry_mut(&mut self, owner: &str, name: &str) -> Option<&mut Entry<O>> {
        self.owners.get_mut(owner)?.by_name.get_mut(name)
    }
}

/// Names a few of the users.
fn in_use(users: &BTreeSet<String>) -> String {
    let named: Vec<&str> = users.iter().map(String::as_str).take(3).collect();
    let more = if users.len() > named.len() {
        " and others"
    } else {
        ""
    };
    format!(
        "in use by container {}{more}; remove the container first",
        named.join(", ")
    )
}

impl<O: NamedObject> Clone for NamedStore<O> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<O: NamedObject> Default for NamedStore<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: NamedObject> Default for Inner<O> {
    fn default() -> Self {
        Self {
            owners: BTreeMap::new(),
            uses: HashMap::default(),
        }
    }
}

impl<O: NamedObject> Default for Objects<O> {
    fn default() -> Self {
        Self {
            by_name: BTreeMap::new(),
            names_by_id: HashMap::default(),
        }
    }
}

impl<O: NamedObject> fmt::Debug for NamedStore<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = read(&self.inner);
        let names = inner.owners.values().flat_map(|objects| objects.by_name.keys());
        f.debug_set().entries(names).finish()
    }
}
