//! Drivers that are dropped and opened again, owners, and what is reaped.

use std::sync::Arc;

use driver_types::{
    Capability, ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerFilter, ContainerInstance,
    ContainerStatus, ExitReason, NetworkConfig, RecoveryReport, StopOptions, VolumeConfig,
};

use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::context::until;
use crate::expect;

const RECOVER: &[Capability] = &[Capability::Recover];

const RULE: &[&str] = &["3.recover"];

pub(super) fn register(group: &mut Group) {
    group
        .case("adopts_running", adopts_running)
        .needs(RECOVER)
        .proves(RULE);
    group
        .case("adopts_created", adopts_created)
        .needs(RECOVER)
        .proves(RULE);
    group
        .case("collects_exits", collects_exits)
        .needs(RECOVER)
        .proves(RULE);
    group
        .case("repeat_is_harmless", repeat_is_harmless)
        .needs(RECOVER)
        .proves(RULE);
    group
        .case("what_is_told_survives", instance_survives)
        .proves(&["3.recover", "1.instance.fields"]);
    group.case("logs_survive", logs_survive).proves(RULE);
    group
        .case("request_ids_survive", request_ids_survive)
        .proves(&["3.create.requestId"]);
    group
        .case("restarts_survive", restarts_survive)
        .needs(&[Capability::DurableStopReason])
        .proves(&["2.newRun"]);
    group
        .case("stopped_is_told_apart_again", stop_reason)
        .needs(&[Capability::DurableStopReason])
        .proves(&["1.status.durable"]);
    group
        .case("stopped_may_be_told_as_exited", stop_reason_lost)
        .needs_missing(Capability::DurableStopReason)
        .proves(&["1.status.durable"]);
    group
        .case("volumes_and_networks_survive", objects_survive)
        .needs(&[Capability::Volumes, Capability::Networks])
        .proves(RULE);
    group
        .case("other_owner_is_invisible", other_owner)
        .proves(&["3.owner"]);
    group
        .case("objects_of_another_owner_are_invisible", other_owners_objects)
        .needs(&[Capability::Volumes, Capability::Networks])
        .proves(&["3.owner"]);
    group
        .case("recover_leaves_other_owners_alone", recover_leaves_others)
        .needs(RECOVER)
        .proves(&["3.owner"]);
    super::reap::register(group);
}

type Driver = Arc<dyn ContainerDriver>;

/// Two drivers of one owner: the first is to be dropped, and the second opened after that.
pub(super) async fn first_life(
    cx: &Context,
    config: &ContainerConfig,
) -> Result<ContainerInstance, CaseError> {
    let driver = cx.open_other_owner("twice").await?;
    let container = driver.create_container(config).await?;
    drop(driver);
    Ok(container)
}

pub(super) async fn second_life(cx: &Context) -> Result<Driver, CaseError> {
    cx.open_other_owner("twice").await
}

/// Whether a container is in one of the lists of a report.
fn has(list: &[ContainerInstance], id: &str) -> bool {
    list.iter().any(|container| container.id == id)
}

async fn adopts_running(cx: Context) -> CaseResult {
    let driver = second_life(&cx).await?;
    let id = driver
        .run_container(&cx.config(["wait-file", "/tmp/go", ",", "exit", "6"]))
        .await?
        .id;
    drop(driver);
    let driver = second_life(&cx).await?;
    let report = driver.recover().await?;
    let adopted = expect::some(
        "the container among the adopted",
        report.adopted.iter().find(|found| found.id == id),
    )?;
    expect::equal("status", adopted.status, ContainerStatus::Running)?;
    expect::that("not among the exited", !has(&report.exited, &id), &report)?;
    // The new driver has all of it in hand.
    driver.stop_container(&id, &StopOptions::force()).await?;
    expect::equal(
        "status after a stop",
        driver.require_container(&id).await?.status,
        ContainerStatus::Stopped,
    )
}

async fn adopts_created(cx: Context) -> CaseResult {
    let id = first_life(&cx, &cx.config(["forever"])).await?.id;
    let driver = second_life(&cx).await?;
    expect::that(
        "the container among the adopted",
        has(&driver.recover().await?.adopted, &id),
        &id,
    )?;
    driver.start_container(&id).await?;
    expect::equal(
        "status",
        driver.require_container(&id).await?.status,
        ContainerStatus::Running,
    )
}

/// It ends while no driver of its owner is open: a driver of another owner watches.
async fn collects_exits(cx: Context) -> CaseResult {
    let driver = second_life(&cx).await?;
    let id = driver
        .run_container(&cx.config(["sleep", "400", ",", "exit", "7"]))
        .await?
        .id;
    drop(driver);
    let all = ContainerFilter {
        all_owners: true,
        ..ContainerFilter::session(cx.session())
    };
    until("the end of the run", || async {
        let listed = cx.driver().list_containers(&all).await?;
        let ended = listed
            .iter()
            .any(|container| container.id == id && container.status.has_ended());
        Ok(ended.then_some(()))
    })
    .await?;
    let report = second_life(&cx).await?.recover().await?;
    let found = expect::some(
        "the container among the exited",
        report.exited.iter().find(|found| found.id == id),
    )?;
    let exit = expect::some("its exit", found.exit.as_ref())?;
    expect::equal(
        "exit code and reason",
        (exit.exit_code, exit.reason),
        (Some(7), ExitReason::Exited),
    )
}

async fn repeat_is_harmless(cx: Context) -> CaseResult {
    let driver = second_life(&cx).await?;
    let running = driver.run_container(&cx.config(["forever"])).await?.id;
    let ended = driver.run_container(&cx.config(["exit", "1"])).await?.id;
    until("the end of the second", || async {
        Ok(driver.require_container(&ended).await?.exit)
    })
    .await?;
    drop(driver);
    let driver = second_life(&cx).await?;
    let both: [RecoveryReport; 2] = [driver.recover().await?, driver.recover().await?];
    for report in &both {
        expect::that("the running one adopted", has(&report.adopted, &running), report)?;
    }
    expect::that("the ended one collected", has(&both[0].exited, &ended), &both[0])?;
    expect::equal(
        "status",
        driver.require_container(&running).await?.status,
        ContainerStatus::Running,
    )
}

async fn instance_survives(cx: Context) -> CaseResult {
    let config = cx
        .config(["exit", "4"])
        .label("kept", "yes")
        .name(cx.name("named"));
    let driver = second_life(&cx).await?;
    let id = driver.run_container(&config).await?.id;
    let before = until("the end of the run", || async {
        Ok(Some(driver.require_container(&id).await?).filter(|container| container.exit.is_some()))
    })
    .await?;
    drop(driver);
    expect::equal(
        "the container",
        second_life(&cx).await?.require_container(&id).await?,
        before,
    )
}

async fn logs_survive(cx: Context) -> CaseResult {
    let driver = second_life(&cx).await?;
    let id = driver
        .run_container(&cx.config(["out", "first life", ",", "forever"]))
        .await?
        .id;
    until("the line", || async {
        Ok(driver
            .get_container_logs(&id, &Default::default())
            .await?
            .contains("first life")
            .then_some(()))
    })
    .await?;
    drop(driver);
    let log = second_life(&cx)
        .await?
        .get_container_logs(&id, &Default::default())
        .await?;
    expect::equal("log", log, "first life\n")
}

async fn request_ids_survive(cx: Context) -> CaseResult {
    let config = cx.config(NOTHING).request_id(cx.name("request"));
    let first = first_life(&cx, &config).await?;
    let driver = second_life(&cx).await?;
    expect::equal("id", driver.create_container(&config).await?.id, first.id)?;
    let other = driver.create_container(&config.clone().label("more", "1")).await;
    expect::permanent(other, "CONFIGURATION_ERROR")?;
    Ok(())
}

async fn restarts_survive(cx: Context) -> CaseResult {
    let driver = second_life(&cx).await?;
    let id = driver.run_container(&cx.config(["forever"])).await?.id;
    driver.stop_container(&id, &StopOptions::force()).await?;
    driver.start_container(&id).await?;
    expect::equal("restarts", driver.require_container(&id).await?.restarts, 1)?;
    drop(driver);
    expect::equal(
        "restarts after all",
        second_life(&cx).await?.require_container(&id).await?.restarts,
        1,
    )
}

/// The container after its driver had stopped it and was dropped.
async fn stopped_before(cx: &Context) -> Result<ContainerInstance, CaseError> {
    let driver = second_life(cx).await?;
    let id = driver.run_container(&cx.config(["forever"])).await?.id;
    driver.stop_container(&id, &StopOptions::force()).await?;
    drop(driver);
    Ok(second_life(cx).await?.require_container(&id).await?)
}

async fn stop_reason(cx: Context) -> CaseResult {
    let container = stopped_before(&cx).await?;
    let reason = container.exit.map(|exit| exit.reason);
    expect::equal(
        "status and reason",
        (container.status, reason),
        (ContainerStatus::Stopped, Some(ExitReason::Stopped)),
    )
}

async fn stop_reason_lost(cx: Context) -> CaseResult {
    let container = stopped_before(&cx).await?;
    expect::that("stopped or exited", container.status.has_ended(), &container)?;
    expect::equal(
        "exit code",
        container.exit.and_then(|exit| exit.exit_code),
        Some(137),
    )
}

async fn objects_survive(cx: Context) -> CaseResult {
    let driver = second_life(&cx).await?;
    let volume = driver
        .create_volume(&VolumeConfig::new(cx.name("v")).label("kept", "yes"))
        .await?;
    let network = driver
        .create_network(&NetworkConfig::new(cx.name("n")).label("kept", "yes"))
        .await?;
    drop(driver);
    let driver = second_life(&cx).await?;
    expect::equal("volumes", driver.list_volumes().await?, vec![volume])?;
    expect::equal("networks", driver.list_networks().await?, vec![network])
}

async fn other_owner(cx: Context) -> CaseResult {
    let theirs = first_life(&cx, &cx.config(["forever"])).await?;
    let (driver, id) = (cx.driver(), theirs.id.as_str());
    expect::equal("get", driver.get_container(id).await?, None)?;
    expect::equal(
        "list",
        driver.list_containers(&ContainerFilter::default()).await?,
        Vec::new(),
    )?;
    let not_found = "CONTAINER_NOT_FOUND";
    expect::permanent(driver.start_container(id).await, not_found)?;
    expect::permanent(driver.stop_container(id, &StopOptions::force()).await, not_found)?;
    expect::permanent(driver.remove_container(id, &Default::default()).await, not_found)?;
    expect::permanent(
        driver.get_container_logs(id, &Default::default()).await,
        not_found,
    )?;
    let all = ContainerFilter {
        all_owners: true,
        ..ContainerFilter::session(cx.session())
    };
    expect::that(
        "listed when asked for",
        has(&driver.list_containers(&all).await?, id),
        id,
    )?;
    driver.force_remove(id).await?;
    let after = second_life(&cx).await?.require_container(id).await?;
    expect::equal(
        "status that its owner sees",
        after.status,
        ContainerStatus::Created,
    )
}

async fn other_owners_objects(cx: Context) -> CaseResult {
    let other = second_life(&cx).await?;
    let volume = other.create_volume(&VolumeConfig::new(cx.name("v"))).await?;
    let network = other.create_network(&NetworkConfig::new(cx.name("n"))).await?;
    let driver = cx.driver();
    expect::equal("volumes", driver.list_volumes().await?, Vec::new())?;
    expect::equal("volume", driver.get_volume(&volume.name).await?, None)?;
    expect::permanent(driver.remove_volume(&volume.name).await, "VOLUME_NOT_FOUND")?;
    expect::equal("networks", driver.list_networks().await?, Vec::new())?;
    expect::equal("network", driver.get_network(&network.name).await?, None)?;
    expect::permanent(driver.remove_network(&network.name).await, "NETWORK_NOT_FOUND")?;
    expect::equal(
        "volumes that their owner sees",
        other.list_volumes().await?,
        vec![volume],
    )
}

async fn recover_leaves_others(cx: Context) -> CaseResult {
    let theirs = first_life(&cx, &cx.config(["forever"])).await?;
    let report = cx.driver().recover().await?;
    expect::that("not adopted", !has(&report.adopted, &theirs.id), &report)?;
    let orphaned = report.orphaned.iter().any(|object| object.id == theirs.id);
    expect::that("not orphaned", !orphaned, &report)
}
