//! Drivers that are dropped and opened again, owners, and what is reaped.

use std::sync::Arc;

use driver_types::{
    Capability, ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerFilter, ContainerInstance,
    ContainerStatus, ExitReason, NetworkConfig, ObjectKind, ReapPolicy, ReapReason, ReapReport,
    RecoveryReport, ShutdownMode, StopOptions, VolumeConfig,
};

use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::context::until;
use crate::expect;

const RECOVER: &[Capability] = &[Capability::Recover];
const REAP: &[Capability] = &[Capability::Reap];
const SHUTDOWN: &[Capability] = &[Capability::Shutdown];
const RULE: &[&str] = &["3.recover"];
const REAPS: &[&str] = &["3.reap"];

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
    group.case("reap_expired", reap_expired).needs(REAP).proves(REAPS);
    group
        .case("reap_dead_session", reap_dead_session)
        .needs(REAP)
        .proves(REAPS);
    group.case("reap_dry_run", reap_dry_run).needs(REAP).proves(REAPS);
    group
        .case("reap_dead_owner_is_told", reap_dead_owner)
        .needs(REAP)
        .proves(REAPS);
    group
        .case("reap_spares_the_young", reap_spares_the_young)
        .needs(REAP)
        .proves(REAPS);
    group
        .case("reap_without_rules_removes_nothing", reap_without_rules)
        .needs(REAP)
        .proves(REAPS);
    group
        .case("shutdown_leave", shutdown_leave)
        .needs(SHUTDOWN)
        .proves(&["3.shutdown"]);
    group
        .case("shutdown_stop", shutdown_stop)
        .needs(SHUTDOWN)
        .proves(&["3.shutdown"]);
    group
        .case("shutdown_remove", shutdown_remove)
        .needs(SHUTDOWN)
        .proves(&["3.shutdown"]);
    group
        .case("shutdown_ends_the_driver", shutdown_ends)
        .needs(SHUTDOWN)
        .proves(&["3.shutdown"]);
}

type Driver = Arc<dyn ContainerDriver>;

/// Two drivers of one owner: the first is to be dropped, and the second opened after that.
async fn first_life(cx: &Context, config: &ContainerConfig) -> Result<ContainerInstance, CaseError> {
    let driver = cx.open_other_owner("twice").await?;
    let container = driver.create_container(config).await?;
    drop(driver);
    Ok(container)
}

async fn second_life(cx: &Context) -> Result<Driver, CaseError> {
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

/// Whether a report tells this container as removed, and why.
fn reaped(report: &ReapReport, id: &str) -> Option<ReapReason> {
    let mut removed = report.removed.iter();
    removed
        .find(|reaped| reaped.object.kind == ObjectKind::Container && reaped.object.id == id)
        .map(|reaped| reaped.reason)
}

async fn reap_expired(cx: Context) -> CaseResult {
    let theirs = first_life(&cx, &cx.config(["forever"])).await?;
    let created = cx.create(&cx.config(["forever"])).await?.id;
    let running = cx.run(&cx.config(["forever"])).await?.id;
    // Older than 0 ms: every clock goes on by one.
    let policy = ReapPolicy {
        max_age_ms: Some(0),
        ..ReapPolicy::default()
    };
    for id in [created, running] {
        until("the container among the expired", || async {
            let report = cx.driver().reap(&policy).await?;
            expect::that("no failure", report.failed.is_empty(), &report)?;
            let gone = cx.driver().get_container(&id).await?.is_none();
            let told = reaped(&report, &id).is_none_or(|reason| reason == ReapReason::Expired);
            expect::that("reason expired", told, &report)?;
            Ok(gone.then_some(()))
        })
        .await?;
    }
    let after = second_life(&cx).await?.get_container(&theirs.id).await?;
    expect::that("the container of another owner", after.is_some(), after)
}

async fn reap_dead_session(cx: Context) -> CaseResult {
    let living = cx.run(&cx.config(["forever"])).await?.id;
    let mut config = cx.config(["forever"]);
    config.session_id = cx.name("dead");
    let dead = cx.run(&config).await?.id;
    let sessions = Some(vec![cx.session().to_owned()]);
    let policy = ReapPolicy {
        live_sessions: sessions,
        grace_ms: Some(0),
        ..ReapPolicy::default()
    };
    until("the end of the dead session's container", || async {
        let report = cx.driver().reap(&policy).await?;
        expect::equal("reason for the living session's", reaped(&report, &living), None)?;
        Ok((reaped(&report, &dead) == Some(ReapReason::Ownerless)).then_some(()))
    })
    .await?;
    expect::equal(
        "container of the dead session",
        cx.driver().get_container(&dead).await?,
        None,
    )?;
    expect::equal(
        "status of the other",
        cx.get(&living).await?.status,
        ContainerStatus::Running,
    )
}

async fn reap_dry_run(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(["forever"])).await?.id;
    let policy = ReapPolicy {
        max_age_ms: Some(0),
        dry_run: true,
        ..ReapPolicy::default()
    };
    until("the container among the expired", || async {
        let report = cx.driver().reap(&policy).await?;
        expect::that("a report of a dry run", report.dry_run, &report)?;
        Ok(reaped(&report, &id))
    })
    .await?;
    expect::equal("status", cx.get(&id).await?.status, ContainerStatus::Created)
}

/// Dry: for real, it would remove the containers of all the other cases.
async fn reap_dead_owner(cx: Context) -> CaseResult {
    let theirs = first_life(&cx, &cx.config(["forever"])).await?;
    let ours = cx.create(&cx.config(["forever"])).await?;
    let owners = Some(vec![cx.owner().to_owned()]);
    let policy = ReapPolicy {
        live_owners: owners,
        grace_ms: Some(0),
        dry_run: true,
        ..ReapPolicy::default()
    };
    until("the dead owner's container among the ownerless", || async {
        let report = cx.driver().reap(&policy).await?;
        expect::equal("reason for the own container", reaped(&report, &ours.id), None)?;
        Ok(reaped(&report, &theirs.id).filter(|reason| *reason == ReapReason::Ownerless))
    })
    .await?;
    Ok(())
}

async fn reap_spares_the_young(cx: Context) -> CaseResult {
    let id = cx.run(&cx.config(["forever"])).await?.id;
    let policy = ReapPolicy {
        live_sessions: Some(Vec::new()),
        ..ReapPolicy::default()
    };
    let report = cx.driver().reap(&policy).await?;
    expect::equal("reason for a young container", reaped(&report, &id), None)?;
    expect::equal("status", cx.get(&id).await?.status, ContainerStatus::Running)
}

async fn reap_without_rules(cx: Context) -> CaseResult {
    let id = cx.finish(&cx.config(["exit", "0"])).await?.container.id;
    let report = cx
        .driver()
        .reap(&ReapPolicy {
            grace_ms: Some(0),
            ..ReapPolicy::default()
        })
        .await?;
    expect::equal("reason for a whole container", reaped(&report, &id), None)?;
    expect::equal("status", cx.get(&id).await?.status, ContainerStatus::Exited)
}

/// A created and a running container of a driver that is shut down; what its owner sees of them afterwards.
async fn shut_down(cx: &Context, mode: ShutdownMode) -> Result<[Option<ContainerStatus>; 2], CaseError> {
    let driver = second_life(cx).await?;
    let created = driver.create_container(&cx.config(["forever"])).await?.id;
    let running = driver.run_container(&cx.config(["forever"])).await?.id;
    let ours = cx.run(&cx.config(["forever"])).await?.id;
    driver.shutdown(mode).await?;
    expect::equal(
        "status of another owner's",
        cx.get(&ours).await?.status,
        ContainerStatus::Running,
    )?;
    let driver = second_life(cx).await?;
    let mut seen = [None, None];
    for (seen, id) in seen.iter_mut().zip([created, running]) {
        *seen = driver.get_container(&id).await?.map(|container| container.status);
    }
    Ok(seen)
}

async fn shutdown_leave(cx: Context) -> CaseResult {
    let seen = shut_down(&cx, ShutdownMode::Leave).await?;
    expect::equal(
        "statuses",
        seen,
        [Some(ContainerStatus::Created), Some(ContainerStatus::Running)],
    )
}

async fn shutdown_stop(cx: Context) -> CaseResult {
    let [created, running] = shut_down(&cx, ShutdownMode::Stop).await?;
    expect::equal(
        "status of the created one",
        created,
        Some(ContainerStatus::Created),
    )?;
    expect::that(
        "an ended one",
        running.is_some_and(ContainerStatus::has_ended),
        running,
    )
}

async fn shutdown_remove(cx: Context) -> CaseResult {
    expect::equal(
        "statuses",
        shut_down(&cx, ShutdownMode::Remove).await?,
        [None, None],
    )
}

async fn shutdown_ends(cx: Context) -> CaseResult {
    let driver = second_life(&cx).await?;
    let id = driver.create_container(&cx.config(NOTHING)).await?.id;
    driver.shutdown(ShutdownMode::Leave).await?;
    expect::permanent(driver.get_container(&id).await, "NETWORK_ERROR")?;
    expect::permanent(driver.start_container(&id).await, "NETWORK_ERROR")?;
    expect::permanent(
        driver.list_containers(&ContainerFilter::default()).await,
        "NETWORK_ERROR",
    )?;
    Ok(())
}
