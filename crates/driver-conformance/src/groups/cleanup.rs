//! Nothing stays behind: after failures, after dropped calls, after whole lives.
//!
//! Each case ends with the suite's leak ledger; what these cases add is how they get there.

use std::time::Duration;

use driver_types::{
    Capability, ContainerConfig, ContainerDriverExt, ContainerFilter, ContainerStatus, NetworkConfig,
    RemoveOptions, StopOptions, VolumeConfig, VolumeMount,
};

use crate::Context;
use crate::case::{CaseResult, Group};
use crate::context::until;
use crate::expect;

/// After how many milliseconds a call is dropped: before, while and after the engine does its work.
const DROPS: [u64; 6] = [0, 1, 4, 15, 60, 240];

pub(super) fn register(group: &mut Group) {
    group
        .case("failed_create_leaves_nothing", failed_create_leaves_nothing)
        .proves(&["3.create.atomic"]);
    group
        .case("dropped_create_leaves_nothing", dropped_create_leaves_nothing)
        .proves(&["3.create.dropped", "3.cancel"]);
    group
        .case("dropped_create_frees_the_name", dropped_create_frees_the_name)
        .proves(&["3.create.dropped", "3.cancel"]);
    group.case("dropped_start", dropped_start).proves(&["3.cancel"]);
    group.case("dropped_stop", dropped_stop).proves(&["3.cancel"]);
    group.case("dropped_remove", dropped_remove).proves(&["3.cancel"]);
    group
        .case("failed_run_removes_the_container", failed_run)
        .proves(&["3.create.atomic"]);
    group
        .case("whole_trees_are_removed", whole_trees_are_removed)
        .proves(&["3.remove.all"]);
    group.case("many_lives", many_lives).proves(&["3.remove.all"]);
    group
        .case("volumes", volumes)
        .proves(&["3.remove.all"])
        .needs(&[Capability::Volumes]);
    group
        .case("networks", networks)
        .proves(&["3.remove.all"])
        .needs(&[Capability::Networks]);
    group.case("dropped_driver", dropped_driver).proves(&["3.cancel"]);
    group
        .case("descriptors_come_back", descriptors_come_back)
        .proves(&["3.remove.all"])
        .serial();
}

async fn expect_none(cx: &Context) -> CaseResult {
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::equal("containers", listed.len(), 0)
}

async fn failed_create_leaves_nothing(cx: Context) -> CaseResult {
    let missing_image = ContainerConfig {
        image: cx.image_name("missing"),
        ..cx.config(["forever"])
    };
    expect::permanent(
        cx.driver().create_container(&missing_image).await,
        "IMAGE_NOT_FOUND",
    )?;
    expect_none(&cx).await?;
    let missing_network = cx.config(["forever"]).network(cx.name("missing"));
    let result = cx.driver().create_container(&missing_network).await;
    expect::that(
        "an error for a network that does not exist",
        result.is_err(),
        &result,
    )?;
    expect_none(&cx).await?;
    let missing_volume = cx
        .config(["forever"])
        .volume(VolumeMount::new(cx.name("missing"), "/data"));
    let result = cx.driver().create_container(&missing_volume).await;
    expect::that(
        "an error for a volume that does not exist",
        result.is_err(),
        &result,
    )?;
    expect_none(&cx).await?;
    // The name and the request id of a failed create are free again.
    let named = |config: ContainerConfig| config.name(cx.name("x")).request_id(cx.name("r"));
    expect::permanent(
        cx.driver().create_container(&named(missing_image)).await,
        "IMAGE_NOT_FOUND",
    )?;
    cx.create(&named(cx.config(["forever"]))).await.map(drop)
}

async fn dropped_create_leaves_nothing(cx: Context) -> CaseResult {
    for ms in DROPS {
        let config = cx.config(["forever"]);
        let create = cx.driver().create_container(&config);
        if let Ok(container) = tokio::time::timeout(Duration::from_millis(ms), create).await {
            cx.driver()
                .remove_container(&container?.id, &RemoveOptions::default())
                .await?;
        }
    }
    until(
        "no container: a dropped create has happened for nobody",
        || async {
            Ok(cx
                .driver()
                .list_containers(&ContainerFilter::default())
                .await?
                .is_empty()
                .then_some(()))
        },
    )
    .await
}

async fn dropped_create_frees_the_name(cx: Context) -> CaseResult {
    let config = cx.config(["forever"]).name(cx.name("again"));
    for ms in DROPS {
        let create = cx.driver().create_container(&config);
        if let Ok(container) = tokio::time::timeout(Duration::from_millis(ms), create).await {
            cx.driver()
                .remove_container(&container?.id, &RemoveOptions::default())
                .await?;
        }
        // The clean-up may go on in the background for a moment.
        let container = until("the name to be free again", || async {
            match cx.driver().create_container(&config).await {
                Err(error) if error.code() == "CONTAINER_CREATION_FAILED" => Ok(None),
                other => Ok(Some(other?)),
            }
        })
        .await?;
        cx.driver()
            .remove_container(&container.id, &RemoveOptions::default())
            .await?;
    }
    Ok(())
}

async fn dropped_start(cx: Context) -> CaseResult {
    for ms in DROPS {
        let container = cx.create(&cx.config(["out", "ready", ",", "forever"])).await?;
        let start = cx.driver().start_container(&container.id);
        let _ = tokio::time::timeout(Duration::from_millis(ms), start).await;
        // It has happened, has not, or is being finished: a repeat decides.
        cx.driver().start_container(&container.id).await?;
        cx.await_line(&container.id, "ready").await?;
        let found = cx.get(&container.id).await?;
        expect::equal("status", found.status, ContainerStatus::Running)?;
        expect::equal("restarts", found.restarts, 0)?;
        cx.driver().force_remove(&container.id).await?;
    }
    Ok(())
}

async fn dropped_stop(cx: Context) -> CaseResult {
    for ms in [0, 5, 50] {
        let container = cx.ready(["mark", "x"]).await?;
        let options = StopOptions::default();
        let stop = cx.driver().stop_container(&container.id, &options);
        let _ = tokio::time::timeout(Duration::from_millis(ms), stop).await;
        cx.driver().stop_container(&container.id, &options).await?;
        expect::equal(
            "status",
            cx.get(&container.id).await?.status,
            ContainerStatus::Stopped,
        )?;
    }
    Ok(())
}

async fn dropped_remove(cx: Context) -> CaseResult {
    for ms in DROPS {
        let container = cx.create(&cx.config(["forever"])).await?;
        let options = RemoveOptions {
            ignore_missing: true,
            ..RemoveOptions::default()
        };
        let remove = cx.driver().remove_container(&container.id, &options);
        let _ = tokio::time::timeout(Duration::from_millis(ms), remove).await;
        cx.driver().remove_container(&container.id, &options).await?;
        expect::equal(
            "get_container",
            cx.driver().get_container(&container.id).await?,
            None,
        )?;
    }
    Ok(())
}

async fn failed_run(cx: Context) -> CaseResult {
    let config = cx.config(["x"]).entrypoint(["/no/such/program"]);
    let error = expect::permanent(cx.driver().run_container(&config).await, "CONTAINER_START_FAILED")?;
    expect::that("no error of the clean-up", error.cleanup().is_none(), &error)?;
    expect_none(&cx).await
}

async fn whole_trees_are_removed(cx: Context) -> CaseResult {
    let commands = [
        "tree", "daemon", "x", ",", "tree", "ignore", "x", ",", "tree", "setsid", "x", ",", "tree", "held",
        "x", ",", "count", "x",
    ];
    let container = cx.ready(commands).await?;
    cx.lines(&container.id).await?.expect("count", "4")?;
    cx.driver()
        .remove_container(&container.id, &RemoveOptions::force())
        .await?;
    expect_none(&cx).await
}

async fn many_lives(cx: Context) -> CaseResult {
    for _ in 0..5 {
        let container = cx
            .finish(&cx.config(["out", "x"]).name(cx.name("life")))
            .await?
            .container;
        cx.driver()
            .remove_container(&container.id, &RemoveOptions::default())
            .await?;
    }
    expect_none(&cx).await
}

async fn volumes(cx: Context) -> CaseResult {
    for _ in 0..3 {
        let volume = cx
            .driver()
            .create_volume(&VolumeConfig::new(cx.name("volume")))
            .await?;
        cx.driver().remove_volume(&volume.id).await?;
    }
    expect::equal("volumes", cx.driver().list_volumes().await?.len(), 0)
}

async fn networks(cx: Context) -> CaseResult {
    for _ in 0..3 {
        let network = cx
            .driver()
            .create_network(&NetworkConfig::new(cx.name("network")))
            .await?;
        cx.driver().remove_network(&network.id).await?;
    }
    expect::equal("networks", cx.driver().list_networks().await?.len(), 0)
}

async fn dropped_driver(cx: Context) -> CaseResult {
    let other = cx.open_again().await?;
    let container = other
        .create_container(&cx.config(["out", "ready", ",", "forever"]))
        .await?;
    other.start_container(&container.id).await?;
    drop(other);
    // What the dropped driver made is the owner's, and runs on.
    cx.await_line(&container.id, "ready").await?;
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Running,
    )
}

/// Open descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

async fn descriptors_come_back(cx: Context) -> CaseResult {
    life(&cx).await?;
    let before = descriptors();
    for _ in 0..5 {
        life(&cx).await?;
    }
    // Connections that are kept for the next call may differ by a few; a leak of one a life is more.
    until("as many open descriptors as before five lives", || async {
        Ok((descriptors() <= before + 3).then_some(()))
    })
    .await
}

async fn life(cx: &Context) -> CaseResult {
    let driver = cx.open_again().await?;
    let container = driver.create_container(&cx.config(["out", "x"])).await?;
    driver.start_container(&container.id).await?;
    cx.await_status(&container.id, ContainerStatus::Exited).await?;
    Ok(driver
        .remove_container(&container.id, &RemoveOptions::default())
        .await?)
}
