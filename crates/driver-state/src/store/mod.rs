//! [`ContainerStore`]: the containers of a driver.

mod conflict;
mod index;
mod inner;
mod query;
mod record;
mod reservation;
mod slots;

use std::sync::Arc;

use driver_types::{Action, ContainerFilter, ContainerInstance, DriverError, Result, Transition};

pub use conflict::Conflict;
use inner::Inner;
pub use record::{ContainerMut, Record};
pub use reservation::Reservation;

use crate::sync::{RwLock, read, write};

/// Whose objects a call sees. An object of another owner does not exist for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// One owner's.
    Owner(&'a str),
    /// Everybody's.
    All,
}

impl Scope<'_> {
    pub(crate) fn covers(self, owner: &str) -> bool {
        match self {
            Self::Owner(own) => own == owner,
            Self::All => true,
        }
    }
}

/// What a [`transition`](ContainerStore::transition) did.
#[derive(Clone, Debug)]
pub enum Applied<T> {
    /// The container changed; this is how it is now.
    Changed(Arc<ContainerInstance>),
    /// The state table says that nothing happens.
    Unchanged(Arc<ContainerInstance>),
    /// The container is out of the store.
    Removed(Record<T>),
}

/// The containers of a driver, with an index for each condition of a [`ContainerFilter`].
///
/// A clone is another handle on the same store. `T` is what the driver keeps beside each container. Instances come out
/// as shared snapshots: a later change makes a new one and leaves them as they are. Look-ups by id, name and
/// request id cost the same in a large store; a list costs by the smallest set that one of its conditions selects.
#[derive(Debug)]
pub struct ContainerStore<T> {
    inner: Arc<RwLock<Inner<T>>>,
}

impl<T> Clone for ContainerStore<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<T> Default for ContainerStore<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Putting in and taking out.
impl<T> ContainerStore<T> {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(RwLock::new(Inner::default())),
        }
    }

    /// Claims a name, and a request id if there is one, for `owner`, until the reservation is committed or dropped.
    ///
    /// # Errors
    ///
    /// The [`Conflict`] where a container or another reservation of this owner has one of them. Then nothing is
    /// claimed.
    pub fn reserve(
        &self,
        owner: &Arc<str>,
        name: &str,
        request_id: Option<&str>,
    ) -> Result<Reservation<T>, Conflict> {
        let ticket = write(&self.inner).claim(owner, name, request_id)?;
        Ok(Reservation::new(self.clone(), ticket, owner, name, request_id))
    }

    /// Puts a container in at once: for one that needs no building, or was found again.
    ///
    /// # Errors
    ///
    /// The [`Conflict`] where its id, or its owner's name or request id, is taken.
    pub fn insert(&self, record: Record<T>) -> Result<Arc<ContainerInstance>, Conflict> {
        write(&self.inner).insert(record)
    }

    /// Takes a container out, whatever its status; `None` where there is none.
    pub fn remove(&self, scope: Scope<'_>, id: &str) -> Option<Record<T>> {
        write(&self.inner).remove(scope, id)
    }

    /// Takes everything out. Reservations that are open then fail to commit.
    pub fn clear(&self) {
        let old = write(&self.inner).clear();
        // Whatever the records hold is dropped here, where no lock is held.
        drop(old);
    }
}

/// Looking.
impl<T> ContainerStore<T> {
    /// A snapshot of one container.
    pub fn get(&self, scope: Scope<'_>, id: &str) -> Option<Arc<ContainerInstance>> {
        self.read(scope, id, |record| Arc::clone(&record.instance))
    }

    /// A snapshot of one container.
    ///
    /// # Errors
    ///
    /// `CONTAINER_NOT_FOUND`.
    pub fn require(&self, scope: Scope<'_>, id: &str) -> Result<Arc<ContainerInstance>> {
        self.get(scope, id)
            .ok_or_else(|| DriverError::container_not_found(id))
    }

    /// What `look` makes of one container. The store is locked for writers meanwhile: `look` must be short and must
    /// not call the store.
    pub fn read<R>(&self, scope: Scope<'_>, id: &str, look: impl FnOnce(&Record<T>) -> R) -> Option<R> {
        read(&self.inner).record(scope, id).map(look)
    }

    /// What `look` makes of the container of this name. See [`read`](Self::read).
    pub fn read_by_name<R>(&self, owner: &str, name: &str, look: impl FnOnce(&Record<T>) -> R) -> Option<R> {
        read(&self.inner).by_name(owner, name).map(look)
    }

    /// What `look` makes of the container that this request made. See [`read`](Self::read).
    pub fn read_by_request<R>(
        &self,
        owner: &str,
        request_id: &str,
        look: impl FnOnce(&Record<T>) -> R,
    ) -> Option<R> {
        read(&self.inner).by_request(owner, request_id).map(look)
    }

    /// Snapshots of all containers that pass the filter, oldest first. The filter's `allOwners` widens the scope.
    pub fn list(&self, scope: Scope<'_>, filter: &ContainerFilter) -> Vec<Arc<ContainerInstance>> {
        self.read_all(scope, filter, |record| Arc::clone(&record.instance))
    }

    /// What `look` makes of all containers that pass the filter, oldest first. See [`read`](Self::read).
    pub fn read_all<R>(
        &self,
        scope: Scope<'_>,
        filter: &ContainerFilter,
        look: impl FnMut(&Record<T>) -> R,
    ) -> Vec<R> {
        let inner = read(&self.inner);
        inner.select(scope, filter).into_iter().map(look).collect()
    }

    /// How many containers there are.
    pub fn count(&self, scope: Scope<'_>) -> usize {
        read(&self.inner).count(scope)
    }
}

/// Changing.
impl<T> ContainerStore<T> {
    /// Changes one container. What identifies it cannot be changed; `state` follows from `status`. `change` must be
    /// short and must not call the store.
    ///
    /// # Errors
    ///
    /// `CONTAINER_NOT_FOUND`.
    pub fn update<R>(
        &self,
        scope: Scope<'_>,
        id: &str,
        change: impl FnOnce(&mut ContainerMut<'_, T>) -> R,
    ) -> Result<R> {
        write(&self.inner).update(scope, id, change)
    }

    /// What the state table says about an action, without doing it: for drivers that must act first.
    ///
    /// # Errors
    ///
    /// `CONTAINER_NOT_FOUND`, and those of [`ContainerStatus::check`](driver_types::ContainerStatus::check).
    pub fn check(&self, scope: Scope<'_>, id: &str, action: Action) -> Result<Transition> {
        self.read(scope, id, |record| record.instance.status.check(id, action))
            .unwrap_or_else(|| Err(DriverError::container_not_found(id)))
    }

    /// Does what the state table says: sets the status and runs `change`, or takes the container out, or nothing.
    /// Check and change are one step. `change` runs only where the status changes, after it has been set.
    ///
    /// # Errors
    ///
    /// `CONTAINER_NOT_FOUND`, and those of [`ContainerStatus::check`](driver_types::ContainerStatus::check). Then nothing has changed.
    pub fn transition(
        &self,
        scope: Scope<'_>,
        id: &str,
        action: Action,
        change: impl FnOnce(&mut ContainerMut<'_, T>),
    ) -> Result<Applied<T>> {
        let mut inner = write(&self.inner);
        let not_found = || DriverError::container_not_found(id);
        let current = &inner.record(scope, id).ok_or_else(not_found)?.instance;
        match current.status.check(id, action)? {
            Transition::To(status) => {
                let set = |container: &mut ContainerMut<'_, T>| {
                    *container.status = status;
                    change(container);
                };
                inner.update(scope, id, set)?;
                let record = inner.record(scope, id).ok_or_else(not_found)?;
                Ok(Applied::Changed(Arc::clone(&record.instance)))
            }
            Transition::Gone => inner
                .remove(scope, id)
                .map(Applied::Removed)
                .ok_or_else(not_found),
            // `check` lets only successes through; of these, what is left changes nothing.
            _ => Ok(Applied::Unchanged(Arc::clone(current))),
        }
    }
}
