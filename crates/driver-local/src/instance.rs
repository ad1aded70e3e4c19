//! From a container's spec and story to the contract's snapshot of it.

use driver_types::{ContainerHealth, ContainerInstance};

use crate::DRIVER_NAME;
use crate::container::Container;

/// The snapshot of a container.
pub(crate) fn instance(container: &Container, health: Option<ContainerHealth>) -> ContainerInstance {
    let Container { spec, story, .. } = container;
    let status = story.status();
    let run = story.run.as_ref();
    let exit = run.and_then(|run| run.exit.clone());
    let live = container.live();
    let of_run = story.network.as_ref();
    let of_run = of_run.filter(|(number, ..)| live.is_some_and(|run| run.number == *number));
    let ports = of_run.map_or_else(Vec::new, |(_, _, ports)| ports.clone());
    ContainerInstance {
        id: spec.id.clone(),
        name: spec.name.clone(),
        session_id: spec.config.session_id.clone(),
        image: spec.config.image.clone(),
        image_digest: spec.image.id.clone(),
        status,
        state: status.state(),
        endpoint: ContainerInstance::endpoint_of(DRIVER_NAME, &spec.id, &ports),
        created_at: spec.created_at,
        started_at: run.map(|run| run.started_at),
        finished_at: exit.as_ref().map(|exit| exit.finished_at),
        exit,
        health,
        ports,
        addresses: of_run
            .map(|(_, address, _)| address.clone())
            .into_iter()
            .collect(),
        labels: spec.config.labels.clone(),
        resources: story.limits.unwrap_or(spec.config.resources),
        enforcement: spec.enforcement.clone(),
        driver: DRIVER_NAME.to_owned(),
        restarts: run.map_or(0, |run| run.number),
    }
}
