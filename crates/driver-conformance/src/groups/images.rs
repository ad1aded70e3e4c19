//! Images.

use bytes::Bytes;
use driver_types::{
    ByteStream, Capability, ContainerConfig, ContainerDriverExt, ContainerStatus, Image, PullPolicy,
    SecurityOptions, VolumeConfig, VolumeMount,
};
use futures_util::stream;

use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;
use crate::workload::{image_archive, import_options};

const IMPORT: &[Capability] = &[Capability::ImportImage, Capability::Images];

const SNAPSHOT: &[Capability] = &[Capability::Snapshot, Capability::Images];

const MANAGE: &[&str] = &["3.images.manage"];

pub(super) fn register(group: &mut Group) {
    group
        .case("import_and_run", import_and_run)
        .needs(IMPORT)
        .proves(MANAGE);
    group
        .case("import_again_moves_the_reference", import_again)
        .needs(IMPORT)
        .proves(MANAGE);
    group
        .case("imported_image_is_listed", listed)
        .needs(IMPORT)
        .proves(MANAGE);
    group
        .case("get_unknown_is_none", get_unknown)
        .needs(&[Capability::Images])
        .proves(MANAGE);
    group.case("remove", remove).needs(IMPORT).proves(MANAGE);
    group
        .case("remove_unknown", remove_unknown)
        .needs(&[Capability::Images])
        .proves(&["3.images.manage", "4.notFound"]);
    group
        .case("remove_in_use", remove_in_use)
        .needs(IMPORT)
        .proves(MANAGE);
    group
        .case("broken_archive", broken_archive)
        .needs(IMPORT)
        .proves(MANAGE);
    group
        .case("defaults_come_from_the_image", defaults)
        .needs(IMPORT)
        .proves(&["1.config.argv", "1.config.workingDir"]);
    group
        .case("digest_is_told", digest)
        .needs(&[Capability::Images])
        .proves(&["1.instance.fields"]);
    group
        .case("missing_image_never", missing_image_never)
        .proves(&["3.create.image", "1.config.pullPolicy"]);
    group
        .case("bad_reference", bad_reference)
        .proves(&["1.config.image"]);
    group
        .case("snapshot_and_run", snapshot_and_run)
        .needs(SNAPSHOT)
        .proves(&["3.snapshot"]);
    group
        .case("snapshots_of_snapshots", snapshots_of_snapshots)
        .needs(SNAPSHOT)
        .needs(&[Capability::Copy])
        .proves(&["3.snapshot"]);
    group
        .case("snapshot_leaves_tmpfs_and_volumes_out", snapshot_without)
        .needs(&[
            Capability::Snapshot,
            Capability::Images,
            Capability::Volumes,
            Capability::Exec,
        ])
        .proves(&["3.snapshot"]);
    group
        .case("owners_are_kept", owners_are_kept)
        .needs(IMPORT)
        .needs_native(Capability::ImportImage)
        .proves(MANAGE);
    group
        .case("snapshot_keeps_owners", snapshot_keeps_owners)
        .needs(SNAPSHOT)
        .needs(&[Capability::User])
        .needs_native(Capability::ImportImage)
        .proves(&["3.snapshot"]);
    super::images_pull::register(group);
}

/// A stream of these bytes, in pieces.
fn bytes(content: Bytes) -> ByteStream {
    let pieces: Vec<_> = content
        .chunks(64 << 10)
        .map(Bytes::copy_from_slice)
        .map(Ok)
        .collect();
    Box::pin(stream::iter(pieces))
}

/// Imports the workload image once more, under a reference of this case.
pub(super) async fn import(cx: &Context, suffix: &str) -> Result<Image, CaseError> {
    let archive =
        image_archive(cx.factory().simulated()).map_err(|error| Failure::new("the workload image", error))?;
    let options = import_options(&cx.image_name(suffix));
    Ok(cx.driver().import_image(&options, bytes(archive)).await?)
}

/// A config with this image and its own defaults.
fn config_of(cx: &Context, reference: &str) -> ContainerConfig {
    ContainerConfig::new(cx.session(), reference).pull_policy(PullPolicy::Never)
}

async fn import_and_run(cx: Context) -> CaseResult {
    let image = import(&cx, "i").await?;
    expect::that("an id sha256:...", image.id.starts_with("sha256:"), &image)?;
    expect::that(
        "the reference",
        image.references.contains(&cx.image_name("i")),
        &image,
    )?;
    expect::equal(
        "label",
        image.labels.get("conformance").map(String::as_str),
        Some("workload"),
    )?;
    for reference in [cx.image_name("i"), image.id] {
        let output = cx.finish(&config_of(&cx, &reference)).await?.output;
        expect::equal(
            format!("output of {reference}"),
            output.text(),
            "default command\n",
        )?;
    }
    Ok(())
}

async fn import_again(cx: Context) -> CaseResult {
    let first = import(&cx, "i").await?;
    let mut options = import_options(&cx.image_name("i"));
    options.command = ["out", "second"].map(str::to_owned).to_vec();
    let archive =
        image_archive(cx.factory().simulated()).map_err(|error| Failure::new("the workload image", error))?;
    let second = cx.driver().import_image(&options, bytes(archive)).await?;
    expect::differs("id of the second image", &second.id, &first.id)?;
    let found = cx.driver().get_image(&cx.image_name("i")).await?;
    expect::equal(
        "image of the reference",
        found.map(|image| image.id),
        Some(second.id),
    )?;
    cx.finish(&config_of(&cx, &cx.image_name("i")))
        .await?
        .output
        .expect_line("second")?;
    // Nothing refers to the first one any more; it may be gone already.
    match cx.driver().remove_image(&first.id).await {
        Err(error) if error.code() != "IMAGE_NOT_FOUND" => Err(error.into()),
        _ => Ok(()),
    }
}

async fn listed(cx: Context) -> CaseResult {
    let image = import(&cx, "i").await?;
    let listed = cx.driver().list_images().await?;
    let found = expect::some(
        "the image in the list",
        listed.into_iter().find(|found| found.id == image.id),
    )?;
    expect::that(
        "its reference",
        found.references.contains(&cx.image_name("i")),
        &found,
    )?;
    expect::that("a size", found.size_bytes > 0, &found)?;
    expect::that(
        "a time in milliseconds",
        found.created_at > 1_577_836_800_000,
        &found,
    )?;
    let by_id = cx.driver().get_image(&image.id).await?;
    expect::equal("image by id", by_id.map(|image| image.id), Some(image.id))
}

async fn get_unknown(cx: Context) -> CaseResult {
    expect::equal(
        "image",
        cx.driver().get_image(&cx.image_name("unknown")).await?,
        None,
    )
}

async fn remove(cx: Context) -> CaseResult {
    import(&cx, "i").await?;
    cx.driver().remove_image(&cx.image_name("i")).await?;
    expect::equal("image", cx.driver().get_image(&cx.image_name("i")).await?, None)
}

async fn remove_unknown(cx: Context) -> CaseResult {
    let reference = cx.image_name("unknown");
    let error = expect::permanent(cx.driver().remove_image(&reference).await, "IMAGE_NOT_FOUND")?;
    expect::equal(
        "message",
        error.to_string(),
        format!("Image {reference} not found"),
    )
}

async fn remove_in_use(cx: Context) -> CaseResult {
    import(&cx, "i").await?;
    let container = cx.create(&config_of(&cx, &cx.image_name("i"))).await?;
    let removed = cx.driver().remove_image(&cx.image_name("i")).await;
    let report = expect::permanent(removed, "CONFIGURATION_ERROR")?.report();
    let named =
        report.contains(&container.id[..container.id.len().min(12)]) || report.contains(&container.name);
    expect::that("an error that names the container", named, &report)?;
    cx.driver().start_container(&container.id).await?;
    cx.wait_exit(&container.id).await?;
    cx.lines(&container.id).await?.expect_line("default command")
}

async fn broken_archive(cx: Context) -> CaseResult {
    let archive = Bytes::from(b"this is no archive ".repeat(100));
    let imported = cx
        .driver()
        .import_image(&import_options(&cx.image_name("broken")), bytes(archive))
        .await;
    match imported {
        Err(error) => expect::that("a permanent error", !error.is_retryable(), &error)?,
        Ok(image) => expect::that("a refusal", false, image)?,
    }
    expect::equal(
        "image",
        cx.driver().get_image(&cx.image_name("broken")).await?,
        None,
    )
}

async fn defaults(cx: Context) -> CaseResult {
    import(&cx, "i").await?;
    let config =
        config_of(&cx, &cx.image_name("i")).command(["cwd", ",", "env", "IMAGE_ENV", ",", "env", "PATH"]);
    let output = cx.finish(&config).await?.output;
    expect::equal(
        "working directory and environment",
        output.text(),
        "cwd=/work\nenv=from the image\nenv=/bin\n",
    )
}

async fn digest(cx: Context) -> CaseResult {
    let image = expect::some("the workload image", cx.driver().get_image(cx.image()).await?)?;
    let container = cx.create(&cx.config(NOTHING)).await?;
    expect::equal("image as asked for", container.image.as_str(), cx.image())?;
    expect::equal("digest", container.image_digest, Some(image.id))
}

async fn missing_image_never(cx: Context) -> CaseResult {
    let reference = cx.image_name("unknown");
    let created = cx.driver().create_container(&config_of(&cx, &reference)).await;
    let error = expect::permanent(created, "IMAGE_NOT_FOUND")?;
    expect::equal(
        "message",
        error.to_string(),
        format!("Image {reference} not found"),
    )
}

async fn bad_reference(cx: Context) -> CaseResult {
    for reference in [
        "",
        "repository/UPPER",
        "a b",
        "name:",
        "name@sha256:short",
        "../x",
    ] {
        expect::violation(
            cx.driver().create_container(&config_of(&cx, reference)).await,
            "/image",
        )?;
    }
    Ok(())
}

async fn snapshot_and_run(cx: Context) -> CaseResult {
    let config = cx.config(["write", "/work/kept", "in the layer"]);
    let container = cx
        .finish(&config.security(SecurityOptions::default().read_only(false)))
        .await?
        .container;
    let reference = cx.image_name("snapshot");
    let image = cx.driver().snapshot_container(&container.id, &reference).await?;
    expect::that("the reference", image.references.contains(&reference), &image)?;
    let mut config = cx.config(["read", "/work/kept"]);
    config.image = reference;
    cx.finish(&config).await?.output.expect("read", "in the layer")
}

/// Images may have many layers: a file system that is made of them must not run out of room for their names.
async fn snapshots_of_snapshots(cx: Context) -> CaseResult {
    const LAYERS: usize = 24;
    let of = |image: &str, read_only| ContainerConfig {
        image: image.to_owned(),
        security: SecurityOptions::default().read_only(read_only),
        ..cx.config(["read", "/work/new"])
    };
    let mut image = cx.image().to_owned();
    for layer in 1..=LAYERS {
        let id = cx.create(&of(&image, false)).await?.id;
        super::files::put_new(&cx, &id, "/work", layer.to_string().as_bytes()).await?;
        image = cx.image_name(&format!("layer-{layer}"));
        cx.driver().snapshot_container(&id, &image).await?;
        cx.driver().force_remove(&id).await?;
    }
    for read_only in [false, true] {
        let output = cx.finish(&of(&image, read_only)).await?.output;
        output.expect("read", &LAYERS.to_string())?;
    }
    Ok(())
}

async fn owners_are_kept(cx: Context) -> CaseResult {
    import(&cx, "i").await?;
    let commands = ["stat", "/home/user", ",", "stat", "/home"];
    let mut config = cx.config(commands);
    config.image = cx.image_name("i");
    expect::equal(
        "type, mode, owner, size",
        cx.finish(&config).await?.output.text(),
        "stat=dir 0755 1000 1000 0\nstat=dir 0755 0 0 0\n",
    )
}

/// Also those of files that their owner has closed to others.
async fn snapshot_keeps_owners(cx: Context) -> CaseResult {
    let commands = [
        "write",
        "/home/user/mine",
        "mine",
        ",",
        "chmod",
        "0600",
        "/home/user/mine",
    ];
    let config = cx
        .config(commands)
        .security(SecurityOptions::default().read_only(false));
    let container = cx.finish(&config).await?.container;
    let reference = cx.image_name("snapshot");
    cx.driver().snapshot_container(&container.id, &reference).await?;
    let mut config = cx.config(["read", "/home/user/mine", ",", "stat", "/home/user/mine"]);
    config.image = reference;
    expect::equal(
        "what its owner sees",
        cx.finish(&config).await?.output.text(),
        "read=mine\nstat=file 0600 1000 1000 4\n",
    )
}

async fn snapshot_without(cx: Context) -> CaseResult {
    let volume = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("v")))
        .await?;
    let mount = VolumeMount::new(&volume.name, "/data");
    let commands = [
        "write",
        "/data/in-volume",
        "1",
        ",",
        "write",
        "/tmp/in-tmpfs",
        "1",
    ];
    let id = cx.ready_with(cx.config(commands).volume(mount)).await?.id;
    let reference = cx.image_name("snapshot");
    cx.driver().snapshot_container(&id, &reference).await?;
    let mut config = cx
        .config(["ls", "/data", ",", "ls", "/tmp"])
        .security(SecurityOptions::default().read_only(false));
    config.image = reference;
    expect::equal(
        "both empty",
        cx.finish(&config).await?.output.text(),
        "ls=\nls=\n",
    )?;
    expect::equal(
        "the container",
        cx.get(&id).await?.status,
        ContainerStatus::Running,
    )
}
