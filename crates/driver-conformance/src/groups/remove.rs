//! `remove_container`.

use driver_types::{
    Capability, ContainerConfig, ContainerFilter, ContainerStatus, LogOptions, RemoveOptions, StopOptions,
    VolumeConfig, VolumeMount,
};

use super::inside::absent;
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("running_is_refused", running_is_refused)
        .proves(&["2.table"]);
    group
        .case("paused_is_refused", paused_is_refused)
        .proves(&["2.table"])
        .needs(&[Capability::Pause]);
    group.case("force_kills", force_kills).proves(&["2.table"]);
    group
        .case("force_on_paused", force_on_paused)
        .proves(&["2.table"])
        .needs(&[Capability::Pause]);
    group
        .case("force_does_not_wait", force_does_not_wait)
        .proves(&["2.table"]);
    group
        .case("is_gone_everywhere", is_gone_everywhere)
        .proves(&["3.remove.all", "2.unknown"]);
    group
        .case("stopped_is_removed", stopped_is_removed)
        .proves(&["2.table"]);
    group.case("unknown_id", unknown_id).proves(&["2.unknown"]);
    group
        .case("ignore_missing", ignore_missing)
        .proves(&["2.unknown"]);
    group.case("twice", twice).proves(&["2.unknown"]);
    group
        .case("writable_layer_is_gone", writable_layer_is_gone)
        .proves(&["3.remove.all"]);
    group
        .case("named_volumes_stay", named_volumes_stay)
        .proves(&["3.remove.all"])
        .needs(&[Capability::Volumes]);
    group.case("others_stay", others_stay).proves(&["3.remove.all"]);
}

const PLAIN: RemoveOptions = RemoveOptions {
    force: false,
    volumes: false,
    ignore_missing: false,
};

async fn running_is_refused(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let refusal = cx.driver().remove_container(&container.id, &PLAIN).await;
    expect::permanent(refusal, "CONTAINER_REMOVE_FAILED")?;
    let found = cx.get(&container.id).await?;
    expect::equal(
        "the container after the refusal",
        found.status,
        ContainerStatus::Running,
    )
}

async fn paused_is_refused(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver().pause_container(&container.id).await?;
    let refusal = cx.driver().remove_container(&container.id, &PLAIN).await;
    expect::permanent(refusal, "CONTAINER_REMOVE_FAILED")?;
    expect::equal(
        "status after the refusal",
        cx.get(&container.id).await?.status,
        ContainerStatus::Paused,
    )
}

async fn force_kills(cx: Context) -> CaseResult {
    let container = cx.ready(["ignore", "TERM"]).await?;
    cx.driver()
        .remove_container(&container.id, &RemoveOptions::force())
        .await?;
    absent(&cx, &container.id).await
}

async fn force_on_paused(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver().pause_container(&container.id).await?;
    cx.driver()
        .remove_container(&container.id, &RemoveOptions::force())
        .await?;
    absent(&cx, &container.id).await
}

async fn force_does_not_wait(cx: Context) -> CaseResult {
    // A handler that never ends: a remove that asked politely first would take the grace time of a stop.
    let container = cx.ready(["trap", "TERM"]).await?;
    let remove = RemoveOptions::force();
    let removal = cx.driver().remove_container(&container.id, &remove);
    let ended = tokio::time::timeout(std::time::Duration::from_millis(8000), removal).await;
    expect::that(
        "an end before the grace time of a stop",
        matches!(ended, Ok(Ok(()))),
        ended,
    )
}

async fn is_gone_everywhere(cx: Context) -> CaseResult {
    let container = cx.finish(&cx.config(["out", "x"])).await?.container;
    cx.driver().remove_container(&container.id, &PLAIN).await?;
    absent(&cx, &container.id).await?;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::equal("list_containers", listed.len(), 0)?;
    let logs = cx
        .driver()
        .get_container_logs(&container.id, &LogOptions::default())
        .await;
    expect::permanent(logs, "CONTAINER_NOT_FOUND")?;
    expect::permanent(
        cx.driver().start_container(&container.id).await,
        "CONTAINER_NOT_FOUND",
    )
    .map(drop)
}

async fn stopped_is_removed(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::force())
        .await?;
    cx.driver().remove_container(&container.id, &PLAIN).await?;
    absent(&cx, &container.id).await
}

async fn unknown_id(cx: Context) -> CaseResult {
    for options in [PLAIN, RemoveOptions::force()] {
        let result = cx.driver().remove_container(&"ab".repeat(32), &options).await;
        expect::permanent(result, "CONTAINER_NOT_FOUND")?;
    }
    Ok(())
}

async fn ignore_missing(cx: Context) -> CaseResult {
    let options = RemoveOptions {
        ignore_missing: true,
        ..PLAIN
    };
    cx.driver().remove_container(&"ab".repeat(32), &options).await?;
    let container = cx.create(&cx.config(["forever"])).await?;
    cx.driver().remove_container(&container.id, &options).await?;
    Ok(cx.driver().remove_container(&container.id, &options).await?)
}

async fn twice(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    cx.driver().remove_container(&container.id, &PLAIN).await?;
    let second = cx.driver().remove_container(&container.id, &PLAIN).await;
    expect::permanent(second, "CONTAINER_NOT_FOUND").map(drop)
}

async fn writable_layer_is_gone(cx: Context) -> CaseResult {
    let config =
        writable(cx.config(["append", "/data/file", "x", ",", "read", "/data/file"])).name(cx.name("layer"));
    for _ in 0..2 {
        let finished = cx.finish(&config).await?;
        finished.output.expect("read", "x")?;
        cx.driver()
            .remove_container(&finished.container.id, &PLAIN)
            .await?;
    }
    Ok(())
}

async fn named_volumes_stay(cx: Context) -> CaseResult {
    let volume = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("kept")))
        .await?;
    let mount = VolumeMount::new(&volume.name, "/data");
    let writer = writable(cx.config(["write", "/data/kept", "still here"])).volume(mount.clone());
    let mut writer = writer;
    if cx.supports(Capability::User) {
        writer.security = writer.security.user("0:0").add_capability("DAC_OVERRIDE");
    }
    let written = cx.finish(&writer).await?;
    written.output.expect("write", "10")?;
    let options = RemoveOptions {
        volumes: true,
        ..PLAIN
    };
    cx.driver()
        .remove_container(&written.container.id, &options)
        .await?;
    let reader = cx.config(["read", "/data/kept"]).volume(mount.read_only(true));
    cx.finish(&reader).await?.output.expect("read", "still here")
}

async fn others_stay(cx: Context) -> CaseResult {
    let config = cx.config(["forever"]);
    let (first, second) = (cx.create(&config).await?, cx.ready(["mark", "x"]).await?);
    cx.driver()
        .remove_container(&first.id, &RemoveOptions::force())
        .await?;
    expect::equal(
        "the other container",
        cx.get(&second.id).await?.status,
        ContainerStatus::Running,
    )
}

fn writable(mut config: ContainerConfig) -> ContainerConfig {
    config.security = config.security.read_only(false);
    config
}
