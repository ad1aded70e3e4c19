//! Escapes by links that are swapped while the driver looks.

use bytes::Bytes;
use driver_types::{Capability, ContainerConfig, RemoveOptions, VolumeConfig, VolumeMount};
use futures_util::TryStreamExt;

use super::escape::{Canary, ESCAPE, needs_a_kernel, refused};
use super::escape_images::{BROKEN, of_image};
use super::files::{put_new, writable};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

/// More exchanges than there is time for: the container is removed first.
const FOR_EVER: &str = "100000000000";

pub(super) fn register(group: &mut Group) {
    group
        .case("copy_through_swapped_links", copy)
        .needs(&[Capability::Copy])
        .proves(&["7.escape", "3.copy.root"]);
    group
        .case("volume_targets_below_swapped_links", volumes)
        .needs_native(Capability::Volumes)
        .timeout_seconds(180)
        .proves(ESCAPE);
    group
        .case("snapshot_of_links_holds_links", snapshot)
        .needs(&[Capability::Snapshot, Capability::Images])
        .proves(&["7.escape", "3.snapshot"]);
}

/// Makes a directory and a link to the canary, and exchanges them.
fn swapping(config: ContainerConfig, base: &str, canary: &Canary) -> ContainerConfig {
    let (one, other, target) = (format!("{base}/one"), format!("{base}/other"), canary.path());
    let commands = [
        "mkdir",
        &one,
        ",",
        "write",
        &format!("{one}/file"),
        "own",
        ",",
        "symlink",
        &target,
        &other,
        ",",
        "out",
        "swapping",
        ",",
        "swap",
        &one,
        &other,
        FOR_EVER,
    ];
    config.command(commands)
}

/// CVE-2018-15664.
async fn copy(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let canary = Canary::new()?;
    let id = cx.run(&swapping(writable(&cx, []), "/work", &canary)).await?.id;
    cx.await_line(&id, "swapping").await?;
    for _ in 0..25 {
        // Each may fail, for the link leads to nothing inside.
        if let Err(error) = put_new(&cx, &id, "/work/one", b"1").await {
            refused(&error, BROKEN)?;
        }
        match cx.driver().copy_from(&id, "/work/one/file").await {
            Ok(content) => {
                let pieces: Vec<Bytes> = content.try_collect().await.unwrap_or_default();
                canary.unread(&String::from_utf8_lossy(&pieces.concat()))?;
            }
            Err(error) => refused(&error, BROKEN)?,
        }
        canary.untouched()?;
    }
    Ok(())
}

/// CVE-2021-30465, CVE-2024-45310.
async fn volumes(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let canary = Canary::new()?;
    let shared = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("shared")))
        .await?;
    let other = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("other")))
        .await?;
    let racer = cx.config([""; 0]).volume(VolumeMount::new(&shared.name, "/data"));
    let racer = cx.run(&swapping(racer, "/data", &canary)).await?.id;
    cx.await_line(&racer, "swapping").await?;
    for _ in 0..5 {
        let config = cx
            .config(["write", "/data/one/new/planted", "1"])
            .volume(VolumeMount::new(&shared.name, "/data"))
            .volume(VolumeMount::new(&other.name, "/data/one/new"));
        let id = cx.create(&config).await?.id;
        match cx.driver().start_container(&id).await {
            Ok(()) => {
                cx.wait_exit(&id).await?;
            }
            Err(error) => {
                expect::code::<()>(Err(error), "CONTAINER_START_FAILED")?;
            }
        }
        let removed = RemoveOptions {
            force: true,
            ..Default::default()
        };
        cx.driver().remove_container(&id, &removed).await?;
        canary.untouched()?;
    }
    Ok(())
}

async fn snapshot(cx: Context) -> CaseResult {
    let canary = Canary::new()?;
    let target = canary.path();
    let config = writable(&cx, ["symlink", &target, "/work/link", ",", "uid"]);
    let id = cx.finish(&config).await?.container.id;
    cx.driver()
        .snapshot_container(&id, &cx.image_name("snapshot"))
        .await?;
    let look = ["readlink", "/work/link", ",", "read", "/work/link/file"];
    let output = cx.finish(&of_image(&cx, "snapshot", look)).await?.output;
    output.expect("readlink", &target)?;
    output.expect_errno("read", "ENOENT")?;
    canary.untouched()
}
