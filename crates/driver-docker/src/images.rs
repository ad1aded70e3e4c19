//! Images: pull, import, list, remove, snapshot.

use std::sync::Arc;

use driver_types::{
    BoxStream, ByteStream, DriverError, Image, ImportOptions, Operation, PullProgress, PullRequest, Result,
};

use crate::engine::Engine;

pub(crate) async fn pull_image(
    engine: &Arc<Engine>,
    request: &PullRequest,
) -> Result<BoxStream<PullProgress>> {
    let _ = (engine, request);
    Err(DriverError::unsupported(
        Operation::PullImage.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn import_image(
    engine: &Arc<Engine>,
    options: &ImportOptions,
    archive: ByteStream,
) -> Result<Image> {
    let _ = (engine, options, archive);
    Err(DriverError::unsupported(
        Operation::ImportImage.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn list_images(engine: &Arc<Engine>) -> Result<Vec<Image>> {
    let _ = (engine);
    Err(DriverError::unsupported(
        Operation::ListImages.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn get_image(engine: &Arc<Engine>, reference: &str) -> Result<Option<Image>> {
    let _ = (engine, reference);
    Err(DriverError::unsupported(
        Operation::GetImage.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn remove_image(engine: &Arc<Engine>, reference: &str) -> Result<()> {
    let _ = (engine, reference);
    Err(DriverError::unsupported(
        Operation::RemoveImage.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn snapshot_container(engine: &Arc<Engine>, id: &str, reference: &str) -> Result<Image> {
    let _ = (engine, id, reference);
    Err(DriverError::unsupported(
        Operation::SnapshotContainer.name(),
        crate::DRIVER_NAME,
    ))
}
