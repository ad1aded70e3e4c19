//! [`Hold`]: a use of volumes or networks by a container that is being made.

use crate::{NamedObject, NamedStore};

/// Volumes or networks that a container uses. Dropping it [releases](NamedStore::release) them.
#[derive(Debug)]
#[must_use = "dropping a hold releases the objects"]
pub struct Hold<O: NamedObject> {
    store: NamedStore<O>,
    /// None where nothing is held, or it is kept.
    container: Option<String>,
}

impl<O: NamedObject> Hold<O> {
    pub(crate) fn new(store: NamedStore<O>, container: &str) -> Self {
        Self {
            store,
            container: Some(container.to_owned()),
        }
    }

    pub(crate) fn none(store: NamedStore<O>) -> Self {
        Self {
            store,
            container: None,
        }
    }

    /// Keeps the objects in use until [`release`](NamedStore::release) is called for the container.
    pub fn keep(mut self) {
        self.container = None;
    }
}

impl<O: NamedObject> Drop for Hold<O> {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            self.store.release(&container);
        }
    }
}
