//! A claim on a name and a request id.

use std::fmt;
use std::sync::Arc;

use driver_types::{ContainerInstance, DriverError};

use super::{ContainerStore, Record};
use crate::sync::write;

/// A name, and a request id if there is one, that belong to a container that is being made. Dropping it frees both.
#[must_use = "dropping a reservation frees the name"]
pub struct Reservation<T> {
    store: ContainerStore<T>,
    ticket: u64,
    owner: Arc<str>,
    name: Box<str>,
    request_id: Option<Arc<str>>,
    committed: bool,
}

impl<T> Reservation<T> {
    pub(super) fn new(
        store: ContainerStore<T>,
        ticket: u64,
        owner: &Arc<str>,
        name: &str,
        request_id: Option<&str>,
    ) -> Self {
        Self {
            store,
            ticket,
            owner: Arc::clone(owner),
            name: name.into(),
            request_id: request_id.map(Arc::from),
            committed: false,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts the container in, under the name and request id of this reservation.
    ///
    /// # Errors
    ///
    /// `INTERNAL_ERROR` where the instance has another name or a known id, `CONTAINER_CREATION_FAILED` where the store
    /// was cleared meanwhile. The name and request id are free then.
    pub fn commit(
        mut self,
        instance: ContainerInstance,
        data: T,
    ) -> Result<Arc<ContainerInstance>, DriverError> {
        if *instance.name != *self.name {
            let message = format!(
                "the container is named `{}`, the reservation `{}`",
                instance.name, self.name
            );
            return Err(DriverError::internal(message));
        }
        let record = Record {
            owner: Arc::clone(&self.owner),
            request_id: self.request_id.clone(),
            instance: Arc::new(instance),
            data,
        };
        let inserted = write(&self.store.inner).commit(self.ticket, record)?;
        self.committed = true;
        Ok(inserted)
    }
}

impl<T> Drop for Reservation<T> {
    fn drop(&mut self) {
        if !self.committed {
            write(&self.store.inner).release(
                self.ticket,
                &self.owner,
                &self.name,
                self.request_id.as_deref(),
            );
        }
    }
}

impl<T> fmt::Debug for Reservation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("owner", &self.owner)
            .field("name", &self.name)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}
