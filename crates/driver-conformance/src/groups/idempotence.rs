//! Repeated calls.

use driver_types::{
    Capability, ContainerConfig, ContainerFilter, ContainerStatus, RemoveOptions, ResourceLimits,
    StopOptions, TmpfsMount,
};

use super::inside::{NOTHING, absent, idle};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

const REQUEST: &[&str] = &["3.create.requestId", "1.config.requestId"];
const OTHER: &[&str] = &["3.create.requestId.other"];
const TABLE: &[&str] = &["2.table"];

pub(super) fn register(group: &mut Group) {
    group
        .case("create_with_request_id", create_with_request_id)
        .proves(REQUEST);
    group
        .case("create_with_request_id_in_every_status", in_every_status)
        .proves(REQUEST);
    group
        .case("create_with_request_id_and_defaults_said", defaults_said)
        .proves(REQUEST);
    group
        .case("create_with_request_id_after_removal", after_removal)
        .proves(REQUEST);
    group
        .case("request_id_with_another_config", another_config)
        .proves(OTHER);
    group
        .case("create_without_request_id_makes_another", without_request_id)
        .proves(REQUEST);
    group.case("start_running", start_running).proves(TABLE);
    group.case("stop_stopped", stop_stopped).proves(TABLE);
    group.case("stop_created", stop_created).proves(TABLE);
    group.case("stop_exited", stop_exited).proves(TABLE);
    group
        .case("pause_paused", pause_paused)
        .needs(&[Capability::Pause])
        .proves(TABLE);
    group
        .case("resume_running", resume_running)
        .needs(&[Capability::Pause])
        .proves(TABLE);
    group
        .case("remove_again_with_ignore_missing", remove_again)
        .proves(&["2.unknown"]);
    group
        .case("update_again", update_again)
        .needs(&[Capability::UpdateResources])
        .proves(&["3.update"]);
    group
        .case("shutdown_again", shutdown_again)
        .needs(&[Capability::Shutdown])
        .proves(&["3.shutdown"]);
}

/// A config with a request id and a field of every kind.
fn requested(cx: &Context) -> ContainerConfig {
    let config = cx
        .config(["forever"])
        .env("NAME", "value")
        .label("kind", "requested");
    with_memory(cx, config.request_id(cx.name("request")), 64)
}

/// A config with a limit of so many MiB, where the driver holds limits; else of so many MiB in `/tmp`.
fn with_memory(cx: &Context, config: ContainerConfig, mib: u64) -> ContainerConfig {
    if cx.supports(Capability::MemoryLimit) {
        return config.resources(ResourceLimits::default().memory(mib));
    }
    ContainerConfig {
        tmpfs: Some(vec![TmpfsMount {
            target: "/tmp".to_owned(),
            size_mib: mib,
        }]),
        ..config
    }
}

async fn create_with_request_id(cx: Context) -> CaseResult {
    let first = cx.create(&requested(&cx)).await?;
    let again = cx.create(&requested(&cx)).await?;
    expect::equal("id of the second call", again.id, first.id)?;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::equal("containers", listed.len(), 1)
}

/// The call of a client that did not hear the first answer may come late.
async fn in_every_status(cx: Context) -> CaseResult {
    let id = cx.create(&requested(&cx)).await?.id;
    cx.driver().start_container(&id).await?;
    let running = cx.create(&requested(&cx)).await?;
    expect::equal(
        "id and status",
        (&running.id, running.status),
        (&id, ContainerStatus::Running),
    )?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    let stopped = cx.create(&requested(&cx)).await?;
    expect::equal(
        "id and status",
        (&stopped.id, stopped.status),
        (&id, ContainerStatus::Stopped),
    )
}

/// A config that says what is the default anyway is an equal one.
async fn defaults_said(cx: Context) -> CaseResult {
    let first = cx.create(&requested(&cx)).await?;
    let mut config = requested(&cx);
    (config.init, config.tty, config.stdin) = (true, false, false);
    config.labels = [("kind".to_owned(), "requested".to_owned())].into();
    expect::equal("id of the second call", cx.create(&config).await?.id, first.id)
}

async fn after_removal(cx: Context) -> CaseResult {
    let first = cx.create(&requested(&cx)).await?;
    cx.driver()
        .remove_container(&first.id, &RemoveOptions::default())
        .await?;
    expect::differs(
        "id of a new container",
        cx.create(&requested(&cx)).await?.id,
        first.id,
    )
}

async fn another_config(cx: Context) -> CaseResult {
    let first = cx.create(&requested(&cx)).await?;
    let others = [
        requested(&cx).env("NAME", "s3cret"),
        requested(&cx).command(["exit", "0"]),
        with_memory(&cx, requested(&cx), 65),
        requested(&cx).label("more", "1"),
        requested(&cx).name(cx.name("named")),
    ];
    for other in others {
        let error = expect::permanent(cx.driver().create_container(&other).await, "CONFIGURATION_ERROR")?;
        expect::contains("a message", &error.to_string(), "equest")?;
        expect::that(
            "no value of env",
            !format!("{error:?}").contains("s3cret"),
            &error,
        )?;
    }
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::that(
        "the first container only",
        listed.len() == 1 && listed[0].id == first.id,
        &listed,
    )
}

async fn without_request_id(cx: Context) -> CaseResult {
    let (one, two) = (
        cx.create(&cx.config(NOTHING)).await?,
        cx.create(&cx.config(NOTHING)).await?,
    );
    expect::differs("id", &one.id, &two.id)?;
    expect::differs("name", &one.name, &two.name)
}

async fn start_running(cx: Context) -> CaseResult {
    let first = cx.run(&cx.config(["forever"])).await?;
    cx.driver().start_container(&first.id).await?;
    let again = cx.get(&first.id).await?;
    let facts = (again.status, again.started_at, again.restarts);
    expect::equal(
        "status, start, restarts",
        facts,
        (ContainerStatus::Running, first.started_at, 0),
    )
}

async fn stop_stopped(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    let first = cx.get(&id).await?;
    cx.driver().stop_container(&id, &StopOptions::default()).await?;
    expect::equal("the container", cx.get(&id).await?, first)
}

async fn stop_created(cx: Context) -> CaseResult {
    let created = cx.create(&cx.config(["forever"])).await?;
    cx.driver()
        .stop_container(&created.id, &StopOptions::default())
        .await?;
    expect::equal(
        "status",
        cx.get(&created.id).await?.status,
        ContainerStatus::Created,
    )?;
    cx.driver().start_container(&created.id).await?;
    expect::equal(
        "restarts of the first run",
        cx.get(&created.id).await?.restarts,
        0,
    )
}

async fn stop_exited(cx: Context) -> CaseResult {
    let exited = cx.finish(&cx.config(["exit", "3"])).await?.container;
    cx.driver()
        .stop_container(&exited.id, &StopOptions::default())
        .await?;
    let after = cx.get(&exited.id).await?;
    expect::equal(
        "status and exit",
        (after.status, after.exit),
        (ContainerStatus::Exited, exited.exit),
    )
}

async fn pause_paused(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.driver().pause_container(&id).await?;
    cx.driver().pause_container(&id).await?;
    expect::equal("status", cx.get(&id).await?.status, ContainerStatus::Paused)?;
    cx.driver().resume_container(&id).await?;
    expect::equal(
        "status after one resume",
        cx.get(&id).await?.status,
        ContainerStatus::Running,
    )
}

async fn resume_running(cx: Context) -> CaseResult {
    let first = cx.run(&cx.config(["forever"])).await?;
    cx.driver().resume_container(&first.id).await?;
    let again = cx.get(&first.id).await?;
    expect::equal(
        "status and start",
        (again.status, again.started_at),
        (ContainerStatus::Running, first.started_at),
    )
}

async fn remove_again(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    let options = RemoveOptions {
        ignore_missing: true,
        ..RemoveOptions::default()
    };
    cx.driver().remove_container(&id, &options).await?;
    cx.driver().remove_container(&id, &options).await?;
    absent(&cx, &id).await
}

async fn update_again(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let limits = ResourceLimits::default().pids(50);
    cx.driver().update_resources(&id, &limits).await?;
    cx.driver().update_resources(&id, &limits).await?;
    expect::equal("limits", cx.get(&id).await?.resources, limits)
}

async fn shutdown_again(cx: Context) -> CaseResult {
    let driver = cx.open_other_owner("closing").await?;
    driver.shutdown(Default::default()).await?;
    Ok(driver.shutdown(Default::default()).await?)
}
