//! `update_resources`: new limits, live, all or nothing.

use std::sync::Arc;

use driver_types::{ContainerStatus, DriverError, ResourceLimits, Result, Violation};
use driver_validation::{check_capacity, validate_resource_limits};

use crate::container::Container;
use crate::core::{Core, detached};
use crate::journal::Record;
use crate::time::now_ms;

/// Changes the limits of a container.
pub(crate) async fn update_resources(core: &Arc<Core>, id: &str, limits: &ResourceLimits) -> Result<()> {
    validate_resource_limits(limits)?;
    check_capacity(limits, &core.host.capacity())?;
    let (turn, core, limits) = (core.turn(id).await?, Arc::clone(core), *limits);
    detached(async move {
        let container = &turn.container;
        refuse(container, &limits)?;
        let now = container.story.limits.unwrap_or(container.spec.config.resources);
        if container.live().is_some() {
            core.cgroups.update(container.id(), &now, &limits)?;
        }
        let record = Record::Limits { limits, at: now_ms() };
        core.containers.record(container, &record)?;
        Ok(())
    })
    .await
}

fn refuse(container: &Container, limits: &ResourceLimits) -> Result<()> {
    let lost = [ContainerStatus::Removing, ContainerStatus::Dead];
    let status = container.status();
    if lost.contains(&status) {
        let allowed = ContainerStatus::ALL
            .into_iter()
            .filter(|other| !lost.contains(other));
        return Err(DriverError::invalid_state(container.id(), status, allowed));
    }
    let disk = container.spec.config.resources.disk;
    if limits.disk != disk {
        let message = format!(
            "{} MiB cannot be set: the writable layer of a container keeps the size it was made with",
            limits.disk
        );
        let hint = format!("keep {disk} MiB, or make another container");
        return Err(DriverError::violations(vec![
            Violation::new("/disk", message).with_hint(hint),
        ]));
    }
    Ok(())
}
