//! Pulls of images.

use driver_types::{Capability, ContainerConfig, ContainerDriverExt, PullPolicy, PullProgress, PullRequest};
use futures_util::TryStreamExt;

use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;
use crate::factory::Registry;

pub(super) fn register(group: &mut Group) {
    group
        .case("pull_ends_with_the_image", pull_ends)
        .needs(PULL)
        .proves(PULLED)
        .serial();
    group
        .case("pull_single_flight", pull_single_flight)
        .needs(PULL)
        .proves(PULLED)
        .serial();
    group
        .case("pull_goes_on_without_a_reader_that_left", pull_dropped)
        .needs(PULL)
        .proves(PULLED)
        .serial();
    group
        .case("pull_unknown", pull_unknown)
        .needs(PULL)
        .proves(&["3.images.pull", "4.notFound"]);
    group
        .case("create_pulls_a_missing_image", create_pulls)
        .needs(PULL)
        .proves(&["3.create.image", "1.config.pullPolicy"])
        .serial();
    group
        .case("create_with_an_image_unknown_to_the_registry", create_unknown)
        .needs(PULL)
        .proves(&["3.create.image"]);
}

const PULL: &[Capability] = &[Capability::PullImage, Capability::Images];

const PULLED: &[&str] = &["3.images.pull"];

/// The registry. Where there must be one, its lack is a failure.
async fn any_registry(cx: &Context) -> Result<Registry, CaseError> {
    let required =
        std::env::var("DRIVER_REQUIRE_REGISTRY").is_ok_and(|value| !value.is_empty() && value != "0");
    match cx.factory().registry().await {
        Ok(registry) => Ok(registry),
        Err(reason) if required => {
            Err(Failure::new("a registry from which this driver can pull", reason.0).into())
        }
        Err(reason) => expect::skip(format!("no registry from which this driver can pull: {reason}")),
    }
}

/// The registry; the driver is made not to have its image.
async fn registry(cx: &Context) -> Result<Registry, CaseError> {
    let registry = any_registry(cx).await?;
    match cx.driver().remove_image(&registry.image).await {
        Err(error) if error.code() != "IMAGE_NOT_FOUND" => Err(error.into()),
        _ => Ok(registry),
    }
}

async fn pull_ends(cx: Context) -> CaseResult {
    let registry = registry(&cx).await?;
    let stream = cx.driver().pull_image(&PullRequest::new(&registry.image)).await?;
    let progress: Vec<PullProgress> = stream.try_collect().await?;
    let last = expect::some("progress", progress.last())?;
    expect::equal(
        "status of the last item",
        last.status.as_str(),
        PullProgress::COMPLETE,
    )?;
    let image = expect::some("the image in the last item", last.image.as_ref())?;
    expect::that("its reference", image.references.contains(&registry.image), image)?;
    let found = cx.driver().get_image(&registry.image).await?;
    expect::equal(
        "image of the reference",
        found.as_ref().map(|image| &image.id),
        Some(&image.id),
    )
}

async fn pull_single_flight(cx: Context) -> CaseResult {
    let registry = registry(&cx).await?;
    let request = PullRequest::new(&registry.image);
    let pulls = (0..4).map(|_| cx.driver().pull_image_wait(&request));
    let images = futures_util::future::try_join_all(pulls).await?;
    let same = images.iter().all(|image| image.id == images[0].id);
    expect::that("one image for all", same, &images)
}

/// One of two readers leaves, then both of another pull: neither spoils the next one.
async fn pull_dropped(cx: Context) -> CaseResult {
    let registry = registry(&cx).await?;
    let request = PullRequest::new(&registry.image);
    let mut left = cx.driver().pull_image(&request).await?;
    let stayed = cx.driver().pull_image(&request).await?;
    expect::some("progress", left.try_next().await?)?;
    drop(left);
    let progress: Vec<PullProgress> = stayed.try_collect().await?;
    let image = progress.last().and_then(|last| last.image.as_ref());
    expect::some("the image for the reader that stayed", image)?;
    cx.driver().remove_image(&registry.image).await?;
    let mut given_up = cx.driver().pull_image(&request).await?;
    expect::some("progress", given_up.try_next().await?)?;
    drop(given_up);
    let again = cx.driver().pull_image_wait(&request).await?;
    expect::that(
        "its reference",
        again.references.contains(&registry.image),
        &again,
    )
}

async fn pull_unknown(cx: Context) -> CaseResult {
    let registry = any_registry(&cx).await?;
    let pulled = cx
        .driver()
        .pull_image_wait(&PullRequest::new(&registry.missing))
        .await;
    expect::permanent(pulled, "IMAGE_NOT_FOUND")?;
    Ok(())
}

async fn create_pulls(cx: Context) -> CaseResult {
    let registry = registry(&cx).await?;
    let never = ContainerConfig::new(cx.session(), &registry.image).pull_policy(PullPolicy::Never);
    expect::permanent(cx.driver().create_container(&never).await, "IMAGE_NOT_FOUND")?;
    let missing = ContainerConfig {
        pull_policy: PullPolicy::Missing,
        ..never
    };
    let container = cx.create(&missing).await?;
    cx.driver().force_remove(&container.id).await?;
    Ok(cx.driver().remove_image(&registry.image).await?)
}

async fn create_unknown(cx: Context) -> CaseResult {
    let registry = any_registry(&cx).await?;
    let config = ContainerConfig::new(cx.session(), &registry.missing);
    expect::permanent(cx.driver().create_container(&config).await, "IMAGE_NOT_FOUND")?;
    Ok(())
}
