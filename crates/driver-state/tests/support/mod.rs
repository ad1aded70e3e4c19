//! What tests and benches of this crate share.

use std::sync::Arc;

use driver_state::{ContainerStore, Record};
use driver_types::{ContainerInstance, ContainerStatus, Enforcement, Labels, ResourceLimits};

/// A created container.
pub(crate) fn instance(id: &str, name: &str, session: &str) -> ContainerInstance {
    let status = ContainerStatus::Created;
    ContainerInstance {
        id: id.to_owned(),
        name: name.to_owned(),
        session_id: session.to_owned(),
        image: "image:latest".to_owned(),
        image_digest: None,
        status,
        state: status.state(),
        endpoint: ContainerInstance::endpoint_of("test", id, &[]),
        created_at: 1,
        started_at: None,
        finished_at: None,
        exit: None,
        health: None,
        ports: Vec::new(),
        addresses: Vec::new(),
        labels: Labels::new(),
        resources: ResourceLimits::default(),
        enforcement: Enforcement::default(),
        driver: "test".to_owned(),
        restarts: 0,
    }
}

/// Puts a container of an owner in.
pub(crate) fn insert(
    store: &ContainerStore<()>,
    owner: &str,
    instance: ContainerInstance,
) -> Arc<ContainerInstance> {
    let record = Record {
        owner: owner.into(),
        request_id: None,
        instance: Arc::new(instance),
        data: (),
    };
    store.insert(record).expect("nothing of it is taken")
}
