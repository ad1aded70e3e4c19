//! `wait_container`.

use std::time::Duration;

use driver_types::{
    Capability, ContainerDriverExt, ContainerStatus, ExitReason, LogOptions, RemoveOptions, Signal,
    StopOptions, WaitCondition,
};
use futures_util::future::join_all;

use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    let case = |case: &mut crate::Case, rule| {
        case.needs(&[Capability::Wait]).proves(&[rule]);
    };
    case(group.case("already_ended", already_ended), "3.wait");
    case(
        group.case("resolves_when_it_ends", resolves_when_it_ends),
        "3.wait",
    );
    case(group.case("exit_code", exit_code), "1.exit");
    case(group.case("ended_by_a_signal", ended_by_a_signal), "1.exit");
    case(group.case("killed_is_not_oom", killed_is_not_oom), "6.oom");
    case(group.case("stopped", stopped), "1.exit");
    case(group.case("many_waiters", many_waiters), "3.wait");
    case(group.case("logs_are_complete", logs_are_complete), "3.wait.logs");
    case(
        group.case("created_waits_for_a_run", created_waits_for_a_run),
        "3.wait",
    );
    case(group.case("second_run", second_run), "3.wait");
    case(
        group.case("removed_while_waiting", removed_while_waiting),
        "3.wait",
    );
    case(group.case("until_removed", until_removed), "3.wait");
    case(
        group.case("until_removed_of_created", until_removed_of_created),
        "3.wait",
    );
    case(group.case("dropped_waiter", dropped_waiter), "3.cancel");
    case(
        group.case("does_not_hold_up_others", does_not_hold_up_others),
        "2.order",
    );
}

/// How long a waiter may take to answer too early.
const EARLY: Duration = Duration::from_millis(50);

async fn already_ended(cx: Context) -> CaseResult {
    let finished = cx.finish(&cx.config(["exit", "3"])).await?;
    let again = cx.driver().wait_exit(&finished.container.id).await?;
    expect::equal("the exit, again", &again, &finished.exit)?;
    expect::equal("the exit of get_container", finished.container.exit, Some(again))
}

async fn resolves_when_it_ends(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "USR1", "4"]).await?;
    let driver = cx.shared_driver();
    let id = container.id.clone();
    let mut waiter = tokio::spawn(async move { driver.wait_exit(&id).await });
    let early = tokio::time::timeout(EARLY, &mut waiter).await;
    expect::that("no answer while it runs", early.is_err(), "an answer")?;
    let options = StopOptions {
        signal: Some(Signal::USR1),
        ..StopOptions::default()
    };
    cx.driver().stop_container(&container.id, &options).await?;
    let exit = expect::some("a waiter", waiter.await.ok())??;
    expect::equal("exit code", exit.exit_code, Some(4))
}

async fn exit_code(cx: Context) -> CaseResult {
    for code in [0, 1, 125] {
        let exit = cx.finish(&cx.config(["exit", &code.to_string()])).await?.exit;
        expect::equal("exit code", exit.exit_code, Some(code))?;
        expect::equal("signal", exit.signal, None)?;
        expect::equal("reason", exit.reason, ExitReason::Exited)?;
    }
    Ok(())
}

async fn ended_by_a_signal(cx: Context) -> CaseResult {
    let exit = cx.finish(&cx.config(["kill", "USR2"])).await?.exit;
    expect::equal("signal", exit.signal, Some(Signal::USR2))?;
    expect::equal("exit code", exit.exit_code, Some(Signal::USR2.exit_code()))?;
    expect::equal("reason", exit.reason, ExitReason::Signaled)
}

async fn killed_is_not_oom(cx: Context) -> CaseResult {
    let exit = cx.finish(&cx.config(["kill", "KILL"])).await?.exit;
    expect::equal("signal", exit.signal, Some(Signal::KILL))?;
    expect::equal("reason", exit.reason, ExitReason::Signaled)
}

async fn stopped(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::default())
        .await?;
    let exit = cx.driver().wait_exit(&container.id).await?;
    expect::equal("reason", exit.reason, ExitReason::Stopped)
}

async fn many_waiters(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "6"]).await?;
    let waiters = (0..16).map(|_| {
        let (driver, id) = (cx.shared_driver(), container.id.clone());
        tokio::spawn(async move { driver.wait_exit(&id).await })
    });
    let waiters: Vec<_> = waiters.collect();
    tokio::task::yield_now().await;
    cx.driver()
        .stop_container(&container.id, &StopOptions::default())
        .await?;
    let exits: Vec<_> = join_all(waiters).await;
    let expected = cx.driver().wait_exit(&container.id).await?;
    for exit in exits {
        let exit = expect::some("a waiter", exit.ok())??;
        expect::equal("the exit for each waiter", &exit, &expected)?;
    }
    Ok(())
}

async fn logs_are_complete(cx: Context) -> CaseResult {
    let bytes = 300_000;
    for _ in 0..3 {
        let container = cx
            .create(&cx.config(["flood", "out", &bytes.to_string(), ",", "out", "last"]))
            .await?;
        cx.driver().start_container(&container.id).await?;
        cx.driver().wait_exit(&container.id).await?;
        let log = cx
            .driver()
            .get_container_logs(&container.id, &LogOptions::default())
            .await?;
        expect::equal(
            "bytes in the log right after the wait",
            log.len(),
            bytes + "last\n".len(),
        )?;
    }
    Ok(())
}

async fn created_waits_for_a_run(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["exit", "3"])).await?;
    let driver = cx.shared_driver();
    let waiting = driver.wait_exit(&container.id);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    expect::that("no answer before the first run", early.is_err(), early)?;
    cx.driver().start_container(&container.id).await?;
    expect::equal("exit code of the first run", waiting.await?.exit_code, Some(3))
}

async fn second_run(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::force())
        .await?;
    cx.driver().start_container(&container.id).await?;
    let driver = cx.shared_driver();
    let waiting = driver.wait_exit(&container.id);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    expect::that("no answer from the first run", early.is_err(), early)?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::force())
        .await?;
    expect::equal("reason", waiting.await?.reason, ExitReason::Stopped)
}

async fn removed_while_waiting(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let driver = cx.shared_driver();
    let waiting = driver.wait_exit(&container.id);
    tokio::pin!(waiting);
    // The wait has to be under way before the removal.
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    expect::that("no answer while it runs", early.is_err(), early)?;
    cx.driver()
        .remove_container(&container.id, &RemoveOptions::force())
        .await?;
    expect::equal("reason", waiting.await?.reason, ExitReason::Removed)
}

async fn until_removed(cx: Context) -> CaseResult {
    let finished = cx.finish(&cx.config(["exit", "5"])).await?;
    let id = finished.container.id;
    let driver = cx.shared_driver();
    let waiting = driver.wait_container(&id, WaitCondition::Removed);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    expect::that("no answer before it is removed", early.is_err(), early)?;
    cx.driver()
        .remove_container(&id, &RemoveOptions::default())
        .await?;
    expect::equal("the exit of the last run", waiting.await?, finished.exit)
}

async fn until_removed_of_created(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    let driver = cx.shared_driver();
    let waiting = driver.wait_container(&container.id, WaitCondition::Removed);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    expect::that("no answer before it is removed", early.is_err(), early)?;
    cx.driver()
        .remove_container(&container.id, &RemoveOptions::default())
        .await?;
    expect::equal("reason", waiting.await?.reason, ExitReason::Removed)
}

async fn dropped_waiter(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "0"]).await?;
    for _ in 0..5 {
        let wait = cx.driver().wait_exit(&container.id);
        let early = tokio::time::timeout(Duration::from_millis(10), wait).await;
        expect::that("no answer while it runs", early.is_err(), early)?;
    }
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Running,
    )?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::default())
        .await?;
    expect::equal(
        "exit code",
        cx.driver().wait_exit(&container.id).await?.exit_code,
        Some(0),
    )
}

async fn does_not_hold_up_others(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let driver = cx.shared_driver();
    let waiting = driver.wait_exit(&container.id);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    expect::that("no answer while it runs", early.is_err(), early)?;
    cx.get(&container.id).await?;
    cx.log(&container.id).await?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::force())
        .await?;
    expect::equal("reason", waiting.await?.reason, ExitReason::Stopped)
}
