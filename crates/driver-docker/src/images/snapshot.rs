//! An image of a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use driver_types::{DriverError, Image, Operation, Result};
use driver_validation::validate_new_image_reference;
use serde::Serialize;

use super::wire::{ImageConfig, ImageInspect};
use crate::engine::Engine;
use crate::error;
use crate::wire::Config;

/// The defaults of the new image. The engine fills what is absent or empty from the container's config, so that a
/// variable or label that the container added can be emptied, but not removed.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Defaults {
    user: String,
    env: Vec<String>,
    cmd: Vec<String>,
    entrypoint: Vec<String>,
    working_dir: String,
    labels: BTreeMap<String, String>,
}

/// Makes an image of a container's writable layer on its image. A running container is paused meanwhile by the engine.
/// The new image has the defaults of the old one: variables and labels of the container's config are not secrets that
/// an image may keep, so their values are emptied.
pub(crate) async fn snapshot_container(engine: &Arc<Engine>, id: &str, reference: &str) -> Result<Image> {
    let operation = Operation::SnapshotContainer;
    let wanted = validate_new_image_reference(reference)?;
    let container = engine.inspect(operation, id).await?;
    let base = super::inspect(engine, operation, &container.image)
        .await?
        .unwrap_or_else(ImageInspect::default);
    let call = engine
        .client
        .post("/commit")
        .query("container", id)
        .query("repo", wanted.name())
        .query("tag", wanted.tag().unwrap_or("latest"))
        .query("pause", true)
        .json(&defaults(&container.config, base.config.unwrap_or_default()));
    call.unit()
        .await
        .map_err(|failure| error::container(operation, id, failure))?;
    super::get_image(engine, reference)
        .await?
        .ok_or_else(|| DriverError::internal("the engine made the image and does not have it"))
}

fn defaults(container: &Config, image: ImageConfig) -> Defaults {
    let mut env = image.env.unwrap_or_default();
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let known: Vec<String> = env.iter().map(|variable| name(variable)).collect();
    let added = container.env.iter().map(|variable| name(variable));
    env.extend(added.filter(|name| !known.contains(name)).map(|name| name + "="));
    let mut labels = image.labels.unwrap_or_default();
    for key in container.labels.keys() {
        labels.entry(key.clone()).or_default();
    }
    Defaults {
        user: image.user,
        env,
        cmd: image.cmd.unwrap_or_default(),
        entrypoint: image.entrypoint.unwrap_or_default(),
        working_dir: image.working_dir,
        labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_container_are_not_kept() {
        let container = Config {
            env: vec!["PATH=/mine".into(), "SECRET=x".into()],
            labels: [
                ("openagent.owner".into(), "o".into()),
                ("base".into(), "changed".into()),
            ]
            .into(),
            ..Config::default()
        };
        let image = ImageConfig {
            env: Some(vec!["PATH=/bin".into()]),
            labels: Some([("base".into(), "kept".into())].into()),
            working_dir: "/w".into(),
            ..ImageConfig::default()
        };
        let made = defaults(&container, image);
        assert_eq!(made.env, ["PATH=/bin", "SECRET="]);
        assert_eq!(made.labels["openagent.owner"], "");
        assert_eq!(made.labels["base"], "kept");
        assert_eq!(made.working_dir, "/w");
    }
}
