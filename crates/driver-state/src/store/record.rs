//! A container in the store, and the part of it that may change.

use std::sync::Arc;

use driver_types::{
    ContainerHealth, ContainerInstance, ContainerStatus, Enforcement, ExitInfo, NetworkAddress,
    PublishedPort, ResourceLimits,
};

/// A container in the store.
#[derive(Clone, Debug)]
pub struct Record<T> {
    /// Who opened the driver that made it.
    pub owner: Arc<str>,
    /// The idempotency key that it was made with.
    pub request_id: Option<Arc<str>>,
    /// The snapshot that callers get.
    pub instance: Arc<ContainerInstance>,
    /// What the driver keeps beside.
    pub data: T,
}

/// The part of a container that may change. The rest (id, name, session, image, labels, times of making) identifies it
/// and is indexed.
#[derive(Debug)]
pub struct ContainerMut<'a, T> {
    /// Its id.
    pub id: &'a str,
    /// The name of its driver.
    pub driver: &'a str,
    /// Where it is in its life. `state` follows.
    pub status: &'a mut ContainerStatus,
    /// The URL of the first published port, else `{driver}://{id}`; see [`publish`](Self::publish).
    pub endpoint: &'a mut String,
    /// When its current or last run began.
    pub started_at: &'a mut Option<u64>,
    /// When its last run ended.
    pub finished_at: &'a mut Option<u64>,
    /// How its last run ended.
    pub exit: &'a mut Option<ExitInfo>,
    /// Its health.
    pub health: &'a mut Option<ContainerHealth>,
    /// The ports that are published now.
    pub ports: &'a mut Vec<PublishedPort>,
    /// Its addresses now.
    pub addresses: &'a mut Vec<NetworkAddress>,
    /// Its limits.
    pub resources: &'a mut ResourceLimits,
    /// How each limit is held.
    pub enforcement: &'a mut Enforcement,
    /// How many runs came before.
    pub restarts: &'a mut u32,
    /// What the driver keeps beside.
    pub data: &'a mut T,
}

impl<'a, T> ContainerMut<'a, T> {
    pub(super) fn new(
        instance: &'a mut ContainerInstance,
        status: &'a mut ContainerStatus,
        data: &'a mut T,
    ) -> Self {
        Self {
            id: &instance.id,
            driver: &instance.driver,
            status,
            endpoint: &mut instance.endpoint,
            started_at: &mut instance.started_at,
            finished_at: &mut instance.finished_at,
            exit: &mut instance.exit,
            health: &mut instance.health,
            ports: &mut instance.ports,
            addresses: &mut instance.addresses,
            resources: &mut instance.resources,
            enforcement: &mut instance.enforcement,
            restarts: &mut instance.restarts,
            data,
        }
    }

    /// Begins a run at `now` (epoch milliseconds): `startedAt` is new, `finishedAt` and `exit` are cleared, and
    /// `restarts` grows by one unless it is the first run.
    pub fn begin_run(&mut self, now: u64) {
        if self.started_at.replace(now).is_some() {
            *self.restarts = self.restarts.saturating_add(1);
        }
        *self.finished_at = None;
        *self.exit = None;
    }

    /// Ends a run: sets `exit` and `finishedAt`; nothing is published any more.
    pub fn end_run(&mut self, exit: ExitInfo) {
        *self.finished_at = Some(exit.finished_at);
        *self.exit = Some(exit);
        self.publish(Vec::new());
        self.addresses.clear();
    }

    /// Sets the published ports, and the endpoint that follows from them.
    pub fn publish(&mut self, ports: Vec<PublishedPort>) {
        if ports.is_empty() && self.ports.is_empty() {
            return;
        }
        *self.endpoint = ContainerInstance::endpoint_of(self.driver, self.id, &ports);
        *self.ports = ports;
    }
}
