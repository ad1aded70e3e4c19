//! `update_resources`: new limits, live, all or nothing.

use std::sync::Arc;

use driver_types::{ContainerStatus, DriverError, ResourceLimits, Result, Violation};
use driver_validation::{check_capacity, validate_resource_limits};

use crate::container::Container;
use crate::core::{Core, blocking, detached};
use crate::disk;
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
        let now = limits_of(container);
        let resize = async |to: ResourceLimits| match limits.disk == now.disk {
            true => Ok(()),
            false => {
                let (dir, shim) = (container.dir.clone(), core.shim.clone());
                blocking(move || disk::change(&dir, &to, &shim)).await
            }
        };
        resize(limits).await?;
        if container.live().is_some()
            && let Err(error) = core.cgroups.update(container.cgroup(), &now, &limits)
        {
            resize(now).await?;
            return Err(error);
        }
        let record = Record::Limits { limits, at: now_ms() };
        core.containers.record(container, &record)?;
        Ok(())
    })
    .await
}

fn limits_of(container: &Container) -> ResourceLimits {
    container.story.limits.unwrap_or(container.spec.config.resources)
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
    let disk = limits_of(container).disk;
    if limits.disk != disk && !disk::can_change(&container.dir) {
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
