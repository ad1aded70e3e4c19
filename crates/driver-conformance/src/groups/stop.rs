//! `stop_container`.

use driver_types::{Capability, ContainerInstance, ContainerStatus, ExitReason, Signal, StopOptions};

use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("returns_when_gone", returns_when_gone)
        .proves(&["2.stopReturns", "1.status.ended"]);
    group
        .case("exit_says_stopped", exit_says_stopped)
        .proves(&["1.exit", "1.status.ended"]);
    group
        .case("sends_stop_signal", sends_stop_signal)
        .proves(&["3.stop.signal", "1.config.stopSignal"]);
    group
        .case("default_signal_is_term", default_signal_is_term)
        .proves(&["1.config.stopSignal"]);
    group
        .case("signal_of_options", signal_of_options)
        .proves(&["3.stop.signal"]);
    group
        .case("exit_code_of_the_handler", exit_code_of_the_handler)
        .proves(&["3.stop.signal"]);
    group
        .case("kills_after_timeout", kills_after_timeout)
        .proves(&["3.stop.signal"]);
    group
        .case("timeout_zero_kills", timeout_zero_kills)
        .proves(&["3.stop.now"]);
    group.case("force_kills", force_kills).proves(&["3.stop.now"]);
    group
        .case("short_timeout_is_not_zero", short_timeout_is_not_zero)
        .proves(&["3.stop.seconds"]);
    group
        .case("paused_container", paused_container)
        .proves(&["2.table"])
        .needs(&[Capability::Pause]);
    group
        .case("whole_tree_is_gone", whole_tree_is_gone)
        .proves(&["2.stopReturns"]);
    group
        .case("log_stays_readable", log_stays_readable)
        .proves(&["3.logs.status"]);
    group
        .case("timeout_over_a_day", timeout_over_a_day)
        .proves(&["3.stop.signal"]);
}

/// Stops, and returns the container as it is right afterwards.
async fn stop(cx: &Context, id: &str, options: StopOptions) -> Result<ContainerInstance, CaseError> {
    cx.driver().stop_container(id, &options).await?;
    let container = cx.get(id).await?;
    expect::equal(
        "status right after stop",
        container.status,
        ContainerStatus::Stopped,
    )?;
    Ok(container)
}

/// The exit is that of a kill by `stop_container`.
fn expect_killed(container: &ContainerInstance) -> CaseResult {
    let exit = expect::some("exit", container.exit.clone())?;
    expect::equal("signal", exit.signal, Some(Signal::KILL))?;
    expect::equal("exit code", exit.exit_code, Some(Signal::KILL.exit_code()))?;
    expect::equal("reason", exit.reason, ExitReason::Stopped)
}

/// Killed without a SIGTERM before, which the process would have told of.
async fn expect_killed_at_once(cx: &Context, stopped: &ContainerInstance) -> CaseResult {
    let output = cx.lines(&stopped.id).await?;
    expect::that(
        "no signal before SIGKILL",
        !output.has("trap=SIGTERM"),
        output.text(),
    )?;
    expect_killed(stopped)
}

async fn returns_when_gone(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let stopped = stop(&cx, &container.id, StopOptions::default()).await?;
    expect::that("an exit", stopped.exit.is_some(), &stopped.exit)?;
    expect::that("finishedAt", stopped.finished_at >= stopped.started_at, &stopped)?;
    expect::equal(
        "is_container_healthy",
        cx.driver().is_container_healthy(&container.id).await?,
        false,
    )
}

async fn exit_says_stopped(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let stopped = stop(&cx, &container.id, StopOptions::default()).await?;
    let exit = expect::some("exit", stopped.exit)?;
    expect::equal("reason", exit.reason, ExitReason::Stopped)?;
    expect::equal(
        "finishedAt of exit and container",
        Some(exit.finished_at),
        stopped.finished_at,
    )
}

async fn sends_stop_signal(cx: Context) -> CaseResult {
    let config = cx.config(["trap-exit", "USR1", "8"]).stop_signal(Signal::USR1);
    let container = cx.ready_with(config).await?;
    let stopped = stop(&cx, &container.id, StopOptions::default()).await?;
    cx.lines(&container.id).await?.expect_line("trap=SIGUSR1")?;
    expect::equal("exit code", stopped.exit.and_then(|exit| exit.exit_code), Some(8))
}

async fn default_signal_is_term(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "0"]).await?;
    stop(&cx, &container.id, StopOptions::default()).await?;
    cx.lines(&container.id).await?.expect_line("trap=SIGTERM")
}

async fn signal_of_options(cx: Context) -> CaseResult {
    let config = cx
        .config(["trap-exit", "INT", "5", ",", "trap", "USR1"])
        .stop_signal(Signal::USR1);
    let container = cx.ready_with(config).await?;
    let options = StopOptions {
        signal: Some(Signal::INT),
        ..StopOptions::default()
    };
    let stopped = stop(&cx, &container.id, options).await?;
    let output = cx.lines(&container.id).await?;
    output.expect_line("trap=SIGINT")?;
    expect::that(
        "no stopSignal beside it",
        !output.has("trap=SIGUSR1"),
        output.text(),
    )?;
    expect::equal("exit code", stopped.exit.and_then(|exit| exit.exit_code), Some(5))
}

async fn exit_code_of_the_handler(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "7"]).await?;
    let stopped = stop(&cx, &container.id, StopOptions::default()).await?;
    let exit = expect::some("exit", stopped.exit)?;
    expect::equal("exit code", exit.exit_code, Some(7))?;
    expect::equal("signal", exit.signal, None)?;
    expect::equal("reason", exit.reason, ExitReason::Stopped)
}

async fn kills_after_timeout(cx: Context) -> CaseResult {
    let container = cx.ready(["trap", "TERM"]).await?;
    let stopped = stop(&cx, &container.id, StopOptions::timeout(1000)).await?;
    cx.lines(&container.id).await?.expect_line("trap=SIGTERM")?;
    expect_killed(&stopped)
}

async fn timeout_zero_kills(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "0"]).await?;
    let stopped = stop(&cx, &container.id, StopOptions::timeout(0)).await?;
    expect_killed_at_once(&cx, &stopped).await
}

async fn force_kills(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "0"]).await?;
    let stopped = stop(
        &cx,
        &container.id,
        StopOptions {
            timeout: Some(20_000),
            ..StopOptions::force()
        },
    )
    .await?;
    expect_killed_at_once(&cx, &stopped).await
}

async fn short_timeout_is_not_zero(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "6"]).await?;
    // Below a second: an engine that takes seconds must not make 0 of it, which would be SIGKILL at once.
    let stopped = stop(&cx, &container.id, StopOptions::timeout(900)).await?;
    expect::equal("exit code", stopped.exit.and_then(|exit| exit.exit_code), Some(6))
}

async fn paused_container(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "7"]).await?;
    cx.driver().pause_container(&container.id).await?;
    let stopped = stop(&cx, &container.id, StopOptions::timeout(2000)).await?;
    let reason = stopped.exit.map(|exit| exit.reason);
    expect::equal("reason", reason, Some(ExitReason::Stopped))
}

async fn whole_tree_is_gone(cx: Context) -> CaseResult {
    let commands = [
        "tree", "daemon", "left", ",", "tree", "ignore", "left", ",", "count", "left",
    ];
    let container = cx.ready(commands).await?;
    cx.lines(&container.id).await?.expect("count", "2")?;
    stop(&cx, &container.id, StopOptions::timeout(1000)).await?;
    // A process that were left would hold the container's name spaces, and be seen from its next run.
    cx.driver().start_container(&container.id).await?;
    let second = || async {
        let output = cx.lines(&container.id).await?;
        let counts: Vec<_> = output.values("count").map(str::to_owned).collect();
        Ok((counts.len() > 1).then_some(counts))
    };
    let counts = crate::context::until("a second run", second).await?;
    expect::equal(
        "processes seen by each run",
        counts,
        vec!["2".to_owned(), "2".to_owned()],
    )
}

async fn log_stays_readable(cx: Context) -> CaseResult {
    let container = cx.ready(["lines", "out", "3"]).await?;
    stop(&cx, &container.id, StopOptions::force()).await?;
    expect::equal(
        "log",
        cx.log(&container.id).await?,
        "line 1\nline 2\nline 3\nready\n",
    )
}

async fn timeout_over_a_day(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let result = cx
        .driver()
        .stop_container(&container.id, &StopOptions::timeout(86_400_001))
        .await;
    expect::violation(result, "/timeout")?;
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Running,
    )
}
