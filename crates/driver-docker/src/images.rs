//! Images that the engine has: list, get, remove.

mod credentials;
mod import;
mod pull;
mod snapshot;
mod wire;

use std::sync::Arc;

use driver_types::{DriverError, Image, Operation, Result, Violation};

pub(crate) use import::import_image;
pub(crate) use pull::{Pulls, pull_image};
pub(crate) use snapshot::snapshot_container;

use crate::engine::{Engine, image_path};
use crate::error;
use crate::failure::Failure;
pub(crate) use wire::ImageInspect;
use wire::ImageSummary;

/// All images but the nameless layers of other images.
pub(crate) async fn list_images(engine: &Arc<Engine>) -> Result<Vec<Image>> {
    let call = engine.client.get("/images/json");
    let images: Vec<ImageSummary> = call.value().await.map_err(error::engine)?;
    Ok(images.into_iter().map(Image::from).collect())
}

/// An image by reference or id.
pub(crate) async fn get_image(engine: &Arc<Engine>, reference: &str) -> Result<Option<Image>> {
    Ok(inspect(engine, Operation::GetImage, reference)
        .await?
        .map(Image::from))
}

/// An image as the engine describes it. A reference that no image can have finds none.
pub(crate) async fn inspect(
    engine: &Engine,
    operation: Operation,
    reference: &str,
) -> Result<Option<ImageInspect>> {
    if reference.is_empty() {
        return Ok(None);
    }
    let call = engine
        .client
        .get(format!("/images/{}/json", image_path(reference)));
    match call.value().await {
        Ok(image) => Ok(Some(image)),
        Err(Failure::Status {
            status: 400 | 404, ..
        }) => Ok(None),
        // Podman answers 500 to what is no reference.
        Err(failure) if failure.says("invalid reference") => Ok(None),
        Err(failure) => Err(error::image(operation, reference, failure)),
    }
}

/// Removes a reference, and the image with its last one. An id removes the image with all its references.
pub(crate) async fn remove_image(engine: &Arc<Engine>, reference: &str) -> Result<()> {
    let image = inspect(engine, Operation::RemoveImage, reference)
        .await?
        .ok_or_else(|| DriverError::image_not_found(reference))?;
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    let by_id = image.id.trim_start_matches("sha256:").starts_with(digits);
    let image = Image::from(image);
    if by_id && image.references.len() > 1 {
        // The engine refuses an id with several references; untagging is refused as well while a container uses one.
        for name in &image.references {
            match remove_one(engine, name).await {
                Err(failure) if failure.status_code() == Some(404) => {}
                other => other.map_err(|failure| refused(reference, failure))?,
            }
        }
        return Ok(());
    }
    remove_one(engine, reference)
        .await
        .map_err(|failure| refused(reference, failure))
}

async fn remove_one(engine: &Engine, reference: &str) -> Result<(), Failure> {
    let path = format!("/images/{}", image_path(reference));
    engine.client.delete(path).unit().await
}

/// In use by a container is a configuration error: the engine names the container.
fn refused(reference: &str, failure: Failure) -> DriverError {
    // Podman answers 500: `image used by <id>: image is in use by a container`.
    if failure.status_code() == Some(409) || failure.says("in use by") {
        let message = format!("image {reference} is in use: {}", failure.message());
        let hint = "remove the containers that use it first";
        return DriverError::violations(vec![Violation::new("/reference", message).with_hint(hint)]);
    }
    error::image(Operation::RemoveImage, reference, failure)
}
