//! Volumes, known by their labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use driver_types::{DriverError, Operation, Result, Volume, VolumeConfig, labels};
use driver_validation::{check_volume_capabilities, validate_volume_config};
use serde_json::json;

use crate::client::Call;
use crate::engine::{Engine, detached, path_segment};
use crate::failure::Failure;
use crate::instance::callers_labels;
use crate::time::parse_ms;
use crate::{DRIVER_NAME, capabilities, error, naming, wire};

/// Makes a volume, or returns the one of that name if its spec is the same.
pub(crate) async fn create_volume(engine: &Arc<Engine>, config: &VolumeConfig) -> Result<Volume> {
    validate_volume_config(config)?;
    check_volume_capabilities(config, &capabilities::capabilities(engine).await?)?;
    let spec = naming::hash(config);
    if let Some(found) = find(engine, Operation::CreateVolume, &config.name).await? {
        return same(engine, found, &spec);
    }
    let body = json!({
        "Name": config.name,
        "Driver": "local",
        "Labels": naming::object_labels(&engine.options.owner, &config.labels, spec.clone()),
    });
    let engine = Arc::clone(engine);
    let name = config.name.clone();
    // A volume is made whole or not at all; a repeat finds it. So a dropped call may finish.
    detached(async move {
        engine.own_volumes.made(&name);
        // The engine answers with the existing volume if another call was faster.
        let made = engine.client.post("/volumes/create").json(&body).value().await;
        let made = made.map_err(|failure| {
            engine.own_volumes.removed(&name);
            error::volume(Operation::CreateVolume, &name, failure)
        })?;
        same(&engine, made, &spec)
    })
    .await
}

fn same(engine: &Engine, found: wire::Volume, spec: &str) -> Result<Volume> {
    let refused = |why: &str| Err(DriverError::volume_creation(&found.name, why).permanent());
    if !engine.owns(&found.labels) {
        return refused("a volume of this name exists that is not this owner's; use another name");
    }
    if found.labels.get(labels::SPEC).map(String::as_str) != Some(spec) {
        return refused(
            "a volume of this name exists with another spec; remove it first, or use another name",
        );
    }
    Ok(volume(found))
}

/// Removes a volume of the owner.
pub(crate) async fn remove_volume(engine: &Arc<Engine>, id: &str) -> Result<()> {
    let operation = Operation::RemoveVolume;
    let found = find(engine, operation, id).await?;
    if !found.is_some_and(|volume| engine.owns(&volume.labels)) {
        return Err(DriverError::volume_not_found(id));
    }
    let (engine, name) = (Arc::clone(engine), id.to_owned());
    detached(async move {
        let removed = engine.client.delete(path(&name)).unit().await;
        removed.map_err(|failure| error::volume(operation, &name, failure))
    })
    .await
}

/// The owner's volumes, by name.
pub(crate) async fn list_volumes(engine: &Arc<Engine>) -> Result<Vec<Volume>> {
    let found = list(engine, Operation::ListVolumes, &engine.owner_label()).await?;
    Ok(found.into_iter().map(volume).collect())
}

/// A volume of the owner, by id or name.
pub(crate) async fn get_volume(engine: &Arc<Engine>, id: &str) -> Result<Option<Volume>> {
    let found = find(engine, Operation::GetVolume, id).await?;
    Ok(found.filter(|volume| engine.owns(&volume.labels)).map(volume))
}

/// The volumes with a label, by name.
pub(crate) async fn list(engine: &Engine, operation: Operation, label: &str) -> Result<Vec<wire::Volume>> {
    let filters = BTreeMap::from([("label", [label])]);
    let call = engine.client.get("/volumes").filters(&filters);
    let found: Result<wire::VolumeList, Failure> = call.value().await;
    let mut volumes = found
        .map_err(|failure| error::volume(operation, "", failure))?
        .volumes;
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// A volume of anybody, by name.
pub(crate) async fn find(engine: &Engine, operation: Operation, name: &str) -> Result<Option<wire::Volume>> {
    if name.is_empty() {
        return Ok(None);
    }
    let call: Call<'_> = engine.client.get(path(name));
    match call.value().await {
        Ok(volume) => Ok(Some(volume)),
        Err(Failure::Status { status: 404, .. }) => Ok(None),
        Err(failure) => Err(error::volume(operation, name, failure)),
    }
}

fn path(name: &str) -> String {
    format!("/volumes/{}", path_segment(name))
}

fn volume(found: wire::Volume) -> Volume {
    Volume {
        id: found.name.clone(),
        name: found.name,
        driver: DRIVER_NAME.to_owned(),
        labels: callers_labels(&found.labels),
        created_at: parse_ms(&found.created_at).unwrap_or_default(),
        size_mib: None,
        mountpoint: Some(found.mountpoint).filter(|path| !path.is_empty()),
    }
}
