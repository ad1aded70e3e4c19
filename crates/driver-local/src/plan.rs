//! `plan`: what create would do, without doing it.

use std::sync::Arc;

use driver_types::{ContainerConfig, Plan, Result, SupportLevel};
use driver_validation::{check_capacity, plan_items, validate_config};

use crate::DRIVER_NAME;
use crate::core::{Core, blocking};

/// What `create_container` would do with a config.
pub(crate) async fn plan(core: &Arc<Core>, config: &ContainerConfig) -> Result<Plan> {
    let config = validate_config(config)?;
    let items = plan_items(&config, &core.capabilities);
    check_capacity(&config.resources, &core.host.capacity())?;
    let (images, reference) = (Arc::clone(&core.images), config.image.clone());
    let image = blocking(move || images.resolve(&reference)).await?;
    Ok(Plan {
        driver: DRIVER_NAME.to_owned(),
        feasible: image.is_some() && items.iter().all(|item| item.support != SupportLevel::None),
        image: config.image.clone(),
        image_digest: image.and_then(|image| image.id),
        pull: false,
        items,
    })
}
