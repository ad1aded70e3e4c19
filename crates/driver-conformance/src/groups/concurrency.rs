//! Callers that race. The rule: success, or the error that the state table gives; never something half-made.

use std::future::Future;

use driver_types::{
    Capability, ContainerFilter, ContainerStatus, NetworkConfig, RemoveOptions, Result, StopOptions,
    VolumeConfig,
};
use futures_util::future::join_all;

use super::inside::{NOTHING, absent, idle};
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;

const RACES: &[&str] = &["2.races"];
const ORDER: &[&str] = &["2.order"];
/// Callers at the same time.
const MANY: usize = 8;

pub(super) fn register(group: &mut Group) {
    group.case("starts_of_one_container", starts).proves(RACES);
    group.case("stops_of_one_container", stops).proves(RACES);
    group.case("removes_of_one_container", removes).proves(RACES);
    group
        .case("forced_removes_of_a_running_container", forced_removes)
        .proves(RACES);
    group
        .case("creates_of_one_name", creates_of_one_name)
        .proves(&["2.races", "3.create.name"]);
    group
        .case("creates_with_one_request_id", creates_with_one_request_id)
        .proves(&["2.races", "3.create.requestId"]);
    group
        .case("creates_of_many_containers", creates_of_many)
        .proves(RACES);
    group
        .case("start_against_remove", start_against_remove)
        .proves(RACES);
    group.case("start_against_stop", start_against_stop).proves(RACES);
    group
        .case("pauses_against_resumes", pauses_against_resumes)
        .needs(&[Capability::Pause])
        .proves(RACES);
    group
        .case("pauses_against_stop", pauses_against_stop)
        .needs(&[Capability::Pause])
        .proves(RACES);
    group
        .case("changes_run_in_the_order_of_arrival", order_of_arrival)
        .proves(ORDER);
    group
        .case("reads_do_not_wait_for_changes", reads_do_not_wait)
        .proves(ORDER);
    group
        .case("containers_do_not_wait_for_each_other", no_waiting_across)
        .proves(ORDER);
    group
        .case("creates_of_one_volume", creates_of_one_volume)
        .proves(&["2.races", "3.volumes.create"]);
    group
        .case("removes_of_one_volume", removes_of_one_volume)
        .proves(RACES);
    group
        .case("creates_of_one_network", creates_of_one_network)
        .proves(&["2.races", "3.networks.create"]);
    group
        .case("waiters_on_one_container", waiters)
        .needs(&[Capability::Wait])
        .proves(&["3.wait"]);
}

/// Runs a call eight times at once.
async fn at_once<T, F: Future<Output = Result<T>>>(call: impl Fn(usize) -> F) -> Vec<Result<T>> {
    join_all((0..MANY).map(call)).await
}

/// Each result is a success or has one of these codes; returns how many are successes.
#[track_caller]
fn legal<T>(results: &[Result<T>], codes: &[&str]) -> std::result::Result<usize, CaseError> {
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        if !codes.contains(&error.code()) {
            return Err(Failure::new(format!("success or one of {codes:?}"), format!("{error:?}")).into());
        }
    }
    Ok(results.iter().filter(|result| result.is_ok()).count())
}

async fn starts(cx: Context) -> CaseResult {
    let id = cx
        .create(&cx.config(["out", "one run", ",", "forever"]))
        .await?
        .id;
    let results = at_once(|_| cx.driver().start_container(&id)).await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    let container = cx.get(&id).await?;
    expect::equal(
        "status and restarts",
        (container.status, container.restarts),
        (ContainerStatus::Running, 0),
    )?;
    cx.await_line(&id, "one run").await?;
    expect::equal(
        "runs",
        cx.lines(&id)
            .await?
            .iter()
            .filter(|line| *line == "one run")
            .count(),
        1,
    )
}

async fn stops(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let options = StopOptions::default();
    let results = at_once(|_| cx.driver().stop_container(&id, &options)).await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    expect::equal("status", cx.get(&id).await?.status, ContainerStatus::Stopped)
}

async fn removes(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    let options = RemoveOptions::default();
    let results = at_once(|_| cx.driver().remove_container(&id, &options)).await;
    let done = legal(&results, &["CONTAINER_NOT_FOUND"])?;
    expect::that("one success or more", done >= 1, done)?;
    absent(&cx, &id).await
}

async fn forced_removes(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let options = RemoveOptions {
        ignore_missing: true,
        ..RemoveOptions::force()
    };
    let results = at_once(|_| cx.driver().remove_container(&id, &options)).await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    absent(&cx, &id).await
}

async fn creates_of_one_name(cx: Context) -> CaseResult {
    let config = cx.config(NOTHING).name(cx.name("contested"));
    let results = at_once(|_| cx.driver().create_container(&config)).await;
    expect::equal("successes", legal(&results, &["CONTAINER_CREATION_FAILED"])?, 1)?;
    let permanent = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .all(|error| !error.is_retryable());
    expect::that("refusals that are not retryable", permanent, &results)?;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::equal("containers", listed.len(), 1)
}

async fn creates_with_one_request_id(cx: Context) -> CaseResult {
    let config = cx.config(NOTHING).request_id(cx.name("request"));
    let results = at_once(|_| cx.driver().create_container(&config)).await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::equal("containers", listed.len(), 1)?;
    let same = results
        .iter()
        .flatten()
        .all(|container| container.id == listed[0].id);
    expect::that("one id for all callers", same, &results)
}

async fn creates_of_many(cx: Context) -> CaseResult {
    let config = cx.config(NOTHING);
    let results = at_once(|_| cx.driver().create_container(&config)).await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    let mut made: Vec<_> = results
        .into_iter()
        .flatten()
        .map(|container| container.id)
        .collect();
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    let mut listed: Vec<_> = listed.into_iter().map(|container| container.id).collect();
    made.sort();
    listed.sort();
    expect::equal("containers", listed, made)
}

async fn start_against_remove(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(["forever"])).await?.id;
    let options = RemoveOptions {
        ignore_missing: true,
        ..RemoveOptions::force()
    };
    let (driver, id, options) = (cx.driver(), &id, &options);
    let results = at_once(|number| async move {
        match number % 2 {
            0 => driver.start_container(id).await,
            _ => driver.remove_container(id, options).await,
        }
    })
    .await;
    legal(&results, &["CONTAINER_NOT_FOUND", "INVALID_STATE"])?;
    expect::equal("container", driver.get_container(id).await?, None)
}

async fn start_against_stop(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let (driver, id, options) = (cx.driver(), &id, &StopOptions::force());
    let results = at_once(|number| async move {
        match number % 2 {
            0 => driver.start_container(id).await,
            _ => driver.stop_container(id, options).await,
        }
    })
    .await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    let container = cx.get(id).await?;
    let consistent = match container.status {
        ContainerStatus::Running => container.exit.is_none(),
        ContainerStatus::Stopped => container.exit.is_some(),
        _ => false,
    };
    expect::that(
        "running without an exit, or stopped with one",
        consistent,
        &container,
    )
}

async fn pauses_against_resumes(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let (driver, id) = (cx.driver(), &id);
    let results = at_once(|number| async move {
        match number % 2 {
            0 => driver.pause_container(id).await,
            _ => driver.resume_container(id).await,
        }
    })
    .await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    let status = cx.get(id).await?.status;
    expect::that("running or paused", status.is_alive(), status)?;
    driver.resume_container(id).await?;
    expect::equal(
        "status after another resume",
        cx.get(id).await?.status,
        ContainerStatus::Running,
    )
}

async fn pauses_against_stop(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let (driver, id, options) = (cx.driver(), &id, &StopOptions::force());
    let results = at_once(|number| async move {
        match number {
            5 => driver.stop_container(id, options).await,
            _ => driver.pause_container(id).await,
        }
    })
    .await;
    legal(&results, &["INVALID_STATE"])?;
    expect::that("the stop succeeds", results[5].is_ok(), &results[5])?;
    expect::equal("status", cx.get(id).await?.status, ContainerStatus::Stopped)
}

/// The stop has to wait for its time-out; the start that was called after it is done after it.
async fn order_of_arrival(cx: Context) -> CaseResult {
    let id = cx.ready(["ignore", "SIGTERM"]).await?.id;
    let options = StopOptions::timeout(1000);
    let (stopped, started) = futures_util::future::join(
        cx.driver().stop_container(&id, &options),
        cx.driver().start_container(&id),
    )
    .await;
    stopped?;
    started?;
    let container = cx.get(&id).await?;
    expect::equal(
        "status and restarts",
        (container.status, container.restarts),
        (ContainerStatus::Running, 1),
    )
}

/// While a stop waits for its time-out, which is far longer than a reading may take.
async fn reads_do_not_wait(cx: Context) -> CaseResult {
    let id = cx.ready(["ignore", "SIGTERM"]).await?.id;
    let options = StopOptions::timeout(8000);
    let reads = async {
        cx.await_line(&id, "ready").await?;
        cx.driver().list_containers(&ContainerFilter::default()).await?;
        cx.driver().is_container_healthy(&id).await?;
        cx.get(&id).await
    };
    tokio::select! {
        biased;
        stopped = cx.driver().stop_container(&id, &options) => {
            expect::that("readings before the stop has ended", false, stopped)
        }
        container = reads => {
            expect::equal("status meanwhile", container?.status, ContainerStatus::Running)
        }
    }
}

async fn no_waiting_across(cx: Context) -> CaseResult {
    let stubborn = cx.ready(["ignore", "SIGTERM"]).await?.id;
    let options = StopOptions::timeout(20_000);
    let other = async {
        let id = idle(&cx).await?;
        Ok::<_, CaseError>(cx.driver().stop_container(&id, &StopOptions::force()).await?)
    };
    tokio::select! {
        biased;
        stopped = cx.driver().stop_container(&stubborn, &options) => {
            expect::that("a life of another container before the stop has ended", false, stopped)
        }
        lived = other => lived,
    }
}

async fn creates_of_one_volume(cx: Context) -> CaseResult {
    let config = VolumeConfig::new(cx.name("contested"));
    let results = at_once(|_| cx.driver().create_volume(&config)).await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    let mut volumes: Vec<_> = results.into_iter().flatten().collect();
    volumes.dedup();
    expect::equal("different volumes", volumes.len(), 1)
}

async fn removes_of_one_volume(cx: Context) -> CaseResult {
    let name = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("contested")))
        .await?
        .name;
    let results = at_once(|_| cx.driver().remove_volume(&name)).await;
    let done = legal(&results, &["VOLUME_NOT_FOUND"])?;
    expect::that("one success or more", done >= 1, done)
}

/// Docker itself makes several networks of one name.
async fn creates_of_one_network(cx: Context) -> CaseResult {
    let config = NetworkConfig::new(cx.name("contested"));
    let results = at_once(|_| cx.driver().create_network(&config)).await;
    expect::equal("successes", legal(&results, &[])?, MANY)?;
    let mut networks: Vec<_> = results.into_iter().flatten().collect();
    networks.dedup();
    expect::equal("different networks", networks.len(), 1)?;
    cx.driver().remove_network(&networks[0].name).await?;
    expect::permanent(
        cx.driver().remove_network(&config.name).await,
        "NETWORK_NOT_FOUND",
    )
    .map(drop)
}

async fn waiters(cx: Context) -> CaseResult {
    let id = cx
        .create(&cx.config(["sleep", "300", ",", "exit", "5"]))
        .await?
        .id;
    cx.driver().start_container(&id).await?;
    let exits = at_once(|_| cx.driver().wait_container(&id, Default::default())).await;
    expect::equal("successes", legal(&exits, &[])?, MANY)?;
    let codes: Vec<_> = exits.into_iter().flatten().map(|exit| exit.exit_code).collect();
    expect::equal("exit codes", codes, vec![Some(5); MANY])
}
