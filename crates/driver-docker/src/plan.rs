//! `plan`: what create would do, without doing it.

use std::sync::Arc;

use driver_types::{ContainerConfig, Operation, Plan, PullPolicy, Result};
use driver_validation::{plan_items, validate_config};

use crate::engine::Engine;
use crate::{DRIVER_NAME, capabilities, images};

/// What `create_container` would do with a config.
pub(crate) async fn plan(engine: &Arc<Engine>, config: &ContainerConfig) -> Result<Plan> {
    let config = validate_config(config)?;
    let profile = engine.profile().await?;
    let items = plan_items(&config, &capabilities::of(&profile));
    driver_validation::check_capacity(&config.resources, &profile.capacity())?;
    let image = images::inspect(engine, Operation::Plan, &config.image).await?;
    let is_id = config.image_reference()?.is_image_id();
    let pull = !is_id
        && match config.pull_policy {
            PullPolicy::Never => false,
            PullPolicy::Missing => image.is_none(),
            PullPolicy::Always => true,
        };
    Ok(Plan {
        driver: DRIVER_NAME.to_owned(),
        feasible: items
            .iter()
            .all(|item| item.support != driver_types::SupportLevel::None)
            && (image.is_some() || pull),
        image: config.image.clone(),
        image_digest: image.map(|image| image.id),
        pull,
        items,
    })
}
