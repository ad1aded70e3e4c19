//! `reap` and `shutdown`.

use driver_types::{
    Capability, ContainerDriverExt, ContainerFilter, ContainerStatus, NetworkConfig, ObjectKind, ReapPolicy,
    ReapReason, ReapReport, ShutdownMode, VolumeConfig,
};

use super::inside::NOTHING;
use super::process::still_runs;
use super::recovery::{first_life, second_life};
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::context::until;
use crate::expect;

pub(super) fn register(group: &mut Group) {
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
        .case("reap_removes_what_dead_owners_left", reap_dead_owners)
        .needs(REAP)
        .proves(REAPS)
        // It takes everything of owners that it does not name: those of other cases as well.
        .serial();
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

const REAP: &[Capability] = &[Capability::Reap];

const SHUTDOWN: &[Capability] = &[Capability::Shutdown];

const REAPS: &[&str] = &["3.reap"];

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

/// Dry, so that it can run on a host with owners that are none of ours.
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

/// A container, a volume and a network of an owner that is there for this case alone: their ids.
async fn belongings(cx: &Context, owner: &str) -> Result<[String; 3], CaseError> {
    let driver = cx.open_other_owner(owner).await?;
    let volume = VolumeConfig::new(cx.name(&format!("{owner}-v")));
    let network = NetworkConfig::new(cx.name(&format!("{owner}-n")));
    Ok([
        driver.run_container(&cx.config(["forever"])).await?.id,
        driver.create_volume(&volume).await?.id,
        driver.create_network(&network).await?.id,
    ])
}

/// Which of its belongings an owner still has.
async fn left(
    cx: &Context,
    owner: &str,
    [container, volume, network]: &[String; 3],
) -> Result<[bool; 3], CaseError> {
    let driver = cx.open_other_owner(owner).await?;
    Ok([
        driver.get_container(container).await?.is_some(),
        driver.get_volume(volume).await?.is_some(),
        driver.get_network(network).await?.is_some(),
    ])
}

/// Only where all that exists is the suite's: a real host may have containers of owners that are none of ours.
async fn reap_dead_owners(cx: Context) -> CaseResult {
    if !cx.factory().simulated() {
        return expect::skip("it would remove what other owners on this host have");
    }
    let (living, dead, gone) = ("living", "dead", "gone");
    let of_living = belongings(&cx, living).await?;
    let of_dead = belongings(&cx, dead).await?;
    let of_gone = belongings(&cx, gone).await?;
    let ours = cx.run(&cx.config(["forever"])).await?.id;
    let policy = ReapPolicy {
        live_owners: Some(vec![cx.name(living)]),
        grace_ms: Some(0),
        ..ReapPolicy::default()
    };
    let report = cx.driver().reap(&policy).await?;
    expect::that("no failure", report.failed.is_empty(), &report)?;
    let ownerless = |id: &String| {
        let mut removed = report.removed.iter();
        removed.any(|reaped| reaped.object.id == *id && reaped.reason == ReapReason::Ownerless)
    };
    expect::that(
        "all of the two dead owners in the report",
        of_dead.iter().chain(&of_gone).all(ownerless),
        &report,
    )?;
    expect::equal("objects in the report", report.removed.len(), 6)?;
    expect::equal("left of the first", left(&cx, dead, &of_dead).await?, [false; 3])?;
    expect::equal("left of the second", left(&cx, gone, &of_gone).await?, [false; 3])?;
    expect::equal(
        "left of the living",
        left(&cx, living, &of_living).await?,
        [true; 3],
    )?;
    // The owner that reaps lives, although it did not name itself.
    still_runs(&cx, &ours).await
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
