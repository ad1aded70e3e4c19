//! `update_resources`: new limits in one call of the engine, which takes back all if one of them fails.

use std::sync::Arc;

use driver_types::{ContainerStatus, DriverError, Operation, ResourceLimits, Result, Violation};
use driver_validation::{check_capacity, validate_resource_limits};
use serde_json::json;

use crate::engine::Engine;
use crate::lifecycle::{Turn, in_turn};
use crate::{error, instance, naming, spec};

/// Changes the limits of a container, live.
pub(crate) async fn update_resources(engine: &Arc<Engine>, id: &str, limits: &ResourceLimits) -> Result<()> {
    validate_resource_limits(limits)?;
    let profile = engine.profile().await?;
    check_capacity(limits, &profile.capacity())?;
    let limits = *limits;
    in_turn(engine, Operation::UpdateResources, id, async move |turn| {
        refuse(&turn, &limits)?;
        let mut body = json!({});
        let info = &profile.info;
        if info.cpu_cfs_quota {
            body["NanoCpus"] = spec::nano_cpus(&limits).into();
        }
        if info.memory_limit {
            body["Memory"] = spec::bytes(limits.memory).into();
        }
        if info.memory_limit && info.swap_limit {
            body["MemorySwap"] = spec::bytes(limits.memory).into();
        }
        if info.pids_limit {
            body["PidsLimit"] = spec::signed(limits.pids).into();
        }
        let call = turn
            .engine
            .client
            .post(format!("/containers/{}/update", turn.id))
            .json(&body);
        call.unit()
            .await
            .map_err(|failure| error::container(turn.operation, &turn.id, failure))
    })
    .await
}

fn refuse(turn: &Turn, limits: &ResourceLimits) -> Result<()> {
    let status = turn.status();
    if matches!(status, ContainerStatus::Removing | ContainerStatus::Dead) {
        let allowed = ContainerStatus::ALL
            .into_iter()
            .filter(|other| !matches!(other, ContainerStatus::Removing | ContainerStatus::Dead));
        return Err(DriverError::invalid_state(&turn.id, status, allowed));
    }
    let label = turn
        .inspect
        .config
        .labels
        .get(naming::RESOURCES)
        .map(String::as_str);
    let now = instance::resources(&turn.inspect.host_config, label.unwrap_or_default());
    if limits.disk != now.disk {
        let message = format!(
            "{} MiB cannot be set: the engine cannot change the disk limit of a container",
            limits.disk
        );
        let hint = format!("keep {} MiB, or make another container", now.disk);
        return Err(DriverError::violations(vec![
            Violation::new("/disk", message).with_hint(hint),
        ]));
    }
    Ok(())
}
