//! `pause_container` and `resume_container`.

use std::time::Duration;

use driver_types::{
    Capability, ContainerDriverExt, ContainerFilter, ContainerStatus, ExitReason, StopOptions,
};

use crate::Context;
use crate::case::{CaseResult, Group};
use crate::context::until;
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("freezes", freezes)
        .proves(&["3.pause"])
        .needs(&[Capability::Pause]);
    group
        .case("resume_goes_on", resume_goes_on)
        .proves(&["3.pause"])
        .needs(&[Capability::Pause]);
    group
        .case("is_the_same_run", is_the_same_run)
        .proves(&["3.pause", "1.instance.fields"])
        .needs(&[Capability::Pause]);
    group
        .case("reads_work", reads_work)
        .proves(&["3.logs.status", "2.order"])
        .needs(&[Capability::Pause]);
    group
        .case("wait_goes_on", wait_goes_on)
        .proves(&["3.wait"])
        .needs(&[Capability::Pause, Capability::Wait]);
    group
        .case("many_times", many_times)
        .proves(&["2.table"])
        .needs(&[Capability::Pause]);
    group
        .case("healthy_while_paused", healthy_while_paused)
        .proves(&["3.health.container"])
        .needs(&[Capability::Pause]);
}

/// Waits until the log of a container has grown beyond a length, and returns the new one.
async fn growth(cx: &Context, id: &str, beyond: usize) -> Result<usize, crate::CaseError> {
    until("a log that grows", || async {
        let length = cx.log(id).await?.len();
        Ok((length > beyond).then_some(length))
    })
    .await
}

async fn freezes(cx: Context) -> CaseResult {
    let container = cx.run(&cx.config(["ticks", "20", "1000000"])).await?;
    growth(&cx, &container.id, 0).await?;
    cx.driver().pause_container(&container.id).await?;
    // What was written before the freeze may still be on its way into the log.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let frozen = cx.log(&container.id).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    expect::equal(
        "the log while paused",
        cx.log(&container.id).await?.len(),
        frozen.len(),
    )
}

async fn resume_goes_on(cx: Context) -> CaseResult {
    let container = cx.run(&cx.config(["ticks", "20", "1000000"])).await?;
    growth(&cx, &container.id, 0).await?;
    cx.driver().pause_container(&container.id).await?;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let frozen = cx.log(&container.id).await?.len();
    cx.driver().resume_container(&container.id).await?;
    growth(&cx, &container.id, frozen).await?;
    let output = cx.lines(&container.id).await?;
    // It went on where it was: no tick is missing, none came twice.
    let in_order = output
        .iter()
        .enumerate()
        .all(|(index, line)| line == format!("tick {}", index + 1));
    expect::that("every tick once, in order", in_order, output.text())
}

async fn is_the_same_run(cx: Context) -> CaseResult {
    let before = cx.ready(["mark", "x"]).await?;
    cx.driver().pause_container(&before.id).await?;
    let paused = cx.get(&before.id).await?;
    expect::equal("status", paused.status, ContainerStatus::Paused)?;
    expect::equal("startedAt", paused.started_at, before.started_at)?;
    expect::equal("exit", paused.exit, None)?;
    cx.driver().resume_container(&before.id).await?;
    let resumed = cx.get(&before.id).await?;
    expect::equal("the container after resume", resumed, before)
}

async fn reads_work(cx: Context) -> CaseResult {
    let container = cx.ready(["lines", "out", "2"]).await?;
    cx.driver().pause_container(&container.id).await?;
    expect::equal("log", cx.log(&container.id).await?, "line 1\nline 2\nready\n")?;
    let filter = ContainerFilter {
        status: vec![ContainerStatus::Paused],
        ..ContainerFilter::default()
    };
    let listed = cx.driver().list_containers(&filter).await?;
    expect::equal("paused containers", listed.len(), 1)
}

async fn wait_goes_on(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let driver = cx.shared_driver();
    let waiting = driver.wait_exit(&container.id);
    tokio::pin!(waiting);
    cx.driver().pause_container(&container.id).await?;
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    expect::that("no answer while it is paused", early.is_err(), early)?;
    cx.driver().resume_container(&container.id).await?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::force())
        .await?;
    expect::equal("reason", waiting.await?.reason, ExitReason::Stopped)
}

async fn many_times(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    for _ in 0..5 {
        cx.driver().pause_container(&container.id).await?;
        expect::equal(
            "status",
            cx.get(&container.id).await?.status,
            ContainerStatus::Paused,
        )?;
        cx.driver().resume_container(&container.id).await?;
        expect::equal(
            "status",
            cx.get(&container.id).await?.status,
            ContainerStatus::Running,
        )?;
    }
    Ok(())
}

async fn healthy_while_paused(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver().pause_container(&container.id).await?;
    // Healthy means running, and a paused container does not.
    expect::equal(
        "is_container_healthy",
        cx.driver().is_container_healthy(&container.id).await?,
        false,
    )
}
