//! The operations on images: the store's work on threads that may block, and its events.

use std::sync::Arc;

use driver_types::{
    BoxStream, ByteStream, Capability, DriverError, EventKind, Image, ImportOptions, PullProgress,
    PullRequest, Result,
};
#[cfg(feature = "pull")]
use futures_util::TryStreamExt;

use crate::container::Container;
use crate::containers::Containers;
use crate::core::{Core, blocking, detached};
use crate::images::ImageStore;
use crate::tarball::StreamReader;

/// Pulls an image.
#[cfg(feature = "pull")]
pub(crate) async fn pull_image(core: &Arc<Core>, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
    driver_validation::validate_pull_request(request)?;
    let containers = Arc::clone(&core.containers);
    let progress = core.images.pull(request)?;
    Ok(Box::pin(progress.inspect_ok(move |progress| {
        if let Some(image) = &progress.image {
            tell_added(&containers, image);
        }
    })))
}

/// Built without the feature `pull`, so not declared, and not reached.
#[cfg(not(feature = "pull"))]
pub(crate) async fn pull_image(_core: &Arc<Core>, _request: &PullRequest) -> Result<BoxStream<PullProgress>> {
    Err(driver_types::DriverError::unsupported(
        driver_types::Operation::PullImage.name(),
        crate::DRIVER_NAME,
    ))
}

/// Makes an image of the tar of a root file system.
pub(crate) async fn import_image(
    core: &Arc<Core>,
    options: &ImportOptions,
    archive: ByteStream,
) -> Result<Image> {
    driver_validation::validate_import_options(options)?;
    let options = options.clone();
    let reader = StreamReader::new(archive);
    let image = call(core, move |images| images.import(&options, reader)).await?;
    tell_added(&core.containers, &image);
    Ok(image)
}

/// Takes the images of an archive of `docker save` or of an OCI image layout.
pub(crate) async fn load_images(core: &Arc<Core>, archive: ByteStream) -> Result<Vec<Image>> {
    let reader = StreamReader::new(archive);
    let images = call(core, move |images| images.load(reader)).await?;
    images
        .iter()
        .for_each(|image| tell_added(&core.containers, image));
    Ok(images)
}

/// All images.
pub(crate) async fn list_images(core: &Arc<Core>) -> Result<Vec<Image>> {
    call(core, |images| images.list()).await
}

/// An image by reference or id.
pub(crate) async fn get_image(core: &Arc<Core>, reference: &str) -> Result<Option<Image>> {
    let reference = reference.to_owned();
    call(core, move |images| images.get(&reference)).await
}

/// Removes an image by reference or id.
pub(crate) async fn remove_image(core: &Arc<Core>, reference: &str) -> Result<()> {
    let (containers, reference) = (Arc::clone(&core.containers), reference.to_owned());
    let removed = call(core, move |images| {
        images.remove(&reference, |id| {
            containers.user(true, |spec| spec.image.id.as_deref() == Some(id))
        })
    })
    .await?;
    for reference in removed {
        core.containers
            .publish(None, EventKind::ImageRemoved { reference });
    }
    Ok(())
}

/// Makes an image of a container's writable layer on its image.
pub(crate) async fn snapshot_container(core: &Arc<Core>, id: &str, reference: &str) -> Result<Image> {
    driver_validation::validate_new_image_reference(reference)?;
    let (turn, core) = (core.turn(id).await?, Arc::clone(core));
    let reference = reference.to_owned();
    // A caller who goes away must not leave it frozen.
    detached(async move { snapshot(&core, &turn.container, reference).await }).await
}

async fn snapshot(core: &Arc<Core>, container: &Container, reference: String) -> Result<Image> {
    let id = container.id();
    let can_freeze = core.capabilities.supports(Capability::Pause);
    let freezes = can_freeze && container.live().is_some_and(|run| !run.paused);
    if freezes {
        // What is written meanwhile would be in the image or not. A driver that is killed here leaves it to `recover`.
        let frozen = core.cgroups.freeze(container.cgroup());
        frozen.map_err(|error| DriverError::internal(format!("container {id} cannot be frozen: {error}")))?;
    }
    let of = container.clone();
    let made = call(core, move |images| {
        crate::disk::ready(&of.dir)?;
        let upper = of.dir.disk().join("upper");
        let upper = (!of.spec.config.security.read_only).then_some(upper);
        let labels = driver_types::Labels::new();
        images.snapshot(&of.spec.image, upper.as_deref(), &reference, &labels)
    })
    .await;
    if freezes {
        let thawed = core.cgroups.thaw(container.cgroup());
        thawed.map_err(|error| DriverError::internal(format!("container {id} cannot be thawed: {error}")))?;
    }
    let image = made?;
    tell_added(&core.containers, &image);
    Ok(image)
}

fn tell_added(containers: &Containers, image: &Image) {
    for reference in image.references.iter().take(1) {
        let reference = reference.clone();
        containers.publish(None, EventKind::ImageAdded { reference });
    }
}

async fn call<T: Send + 'static>(
    core: &Arc<Core>,
    work: impl FnOnce(&ImageStore) -> Result<T> + Send + 'static,
) -> Result<T> {
    let images = Arc::clone(&core.images);
    blocking(move || work(&images)).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use driver_types::ContainerConfig;
    use futures_util::stream;

    use super::*;
    use crate::LocalOptions;
    use crate::create::create_container;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_container_that_is_made_while_its_image_is_about_to_go_keeps_it() {
        const IMAGE: &str = "test/image:1";
        let state = tempfile::tempdir().unwrap();
        let options = LocalOptions::default().state_dir(state.path());
        let core = Arc::new(Core::open(options).unwrap());
        let empty = bytes::Bytes::from(tar::Builder::new(Vec::new()).into_inner().unwrap());
        let archive = Box::pin(stream::iter([Ok(empty)]));
        import_image(&core, &ImportOptions::new(IMAGE), archive)
            .await
            .unwrap();

        let held = core.images.hold().unwrap();
        let removal = tokio::spawn({
            let core = Arc::clone(&core);
            async move { remove_image(&core, IMAGE).await }
        });
        // If it looks for users before it has the store, it has by now.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let config = ContainerConfig::new("session", IMAGE).command(["/nothing"]);
        let container = create_container(&core, &config).await.unwrap();
        drop(held);
        let error = removal.await.unwrap().unwrap_err();
        assert!(error.to_string().contains(&container.name), "{error}");
        assert!(get_image(&core, IMAGE).await.unwrap().is_some());
    }
}
