//! `exec`: how and when a process ends.

use driver_types::{Capability, ContainerStatus, ExecSpec, Signal, StopOptions};
use futures_util::future::try_join_all;

use super::exec::EXEC;
use super::inside::{idle, soon};
use super::process::{await_main, await_sleepers, tree, tree_is_gone, was_killed};
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;
use crate::lines::Lines;

pub(super) fn register(group: &mut Group) {
    group
        .case("nonzero_exit_is_a_result", nonzero_exit_is_a_result)
        .needs(EXEC)
        .proves(&["3.exec.exit"]);
    group
        .case("signal_is_reported", signal_is_reported)
        .needs(EXEC)
        .proves(&["3.exec.exit"]);
    group
        .case("missing_program", missing_program)
        .needs(EXEC)
        .proves(&["3.exec.missing"]);
    group
        .case("not_executable", not_executable)
        .needs(EXEC)
        .proves(&["3.exec.missing"]);
    group
        .case("not_running", not_running)
        .needs(EXEC)
        .proves(&["3.exec.state", "2.invalid"]);
    group
        .case("paused", paused)
        .needs(&[Capability::Exec, Capability::Pause])
        .proves(&["3.exec.state", "2.invalid"]);
    group
        .case("timeout_kills_the_tree", timeout_kills_the_tree)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("timeout_kills_what_ignores_term", timeout_kills_stubborn)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("timeout_kills_daemons", timeout_kills_daemons)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("timeout_keeps_the_output", timeout_keeps_the_output)
        .needs(EXEC)
        .proves(&["3.exec.timeout"]);
    group
        .case("dropped_future_kills_the_tree", dropped_future)
        .needs(EXEC)
        .proves(&["3.exec.timeout", "3.cancel"]);
    group
        .case("ends_with_the_container", ends_with_the_container)
        .needs(EXEC)
        .proves(&["3.exec.exit"]);
    group
        .case("many_at_once", many_at_once)
        .needs(EXEC)
        .proves(&["3.exec.spec"]);
}

async fn nonzero_exit_is_a_result(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for code in [1, 42, 255] {
        let result = cx.exec(&id, ["exit", &code.to_string()]).await?;
        expect::equal("exit code", result.exit_code, code)?;
    }
    Ok(())
}

async fn signal_is_reported(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let result = cx.exec(&id, ["kill", "SIGKILL"]).await?;
    expect::equal("exit code", result.exit_code, 137)?;
    expect::equal("signal", result.signal, Some(Signal::KILL))?;
    expect::that("no time-out", !result.timed_out, &result)
}

async fn missing_program(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for program in ["/nowhere/program", "no-such-program"] {
        let result = cx.driver().exec(&id, &ExecSpec::new([program])).await?;
        expect::equal(format!("exit code of {program}"), result.exit_code, 127)?;
    }
    Ok(())
}

async fn not_executable(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for program in ["/not-executable", "/dir"] {
        let result = cx.driver().exec(&id, &ExecSpec::new([program])).await?;
        expect::equal(format!("exit code of {program}"), result.exit_code, 126)?;
    }
    Ok(())
}

async fn not_running(cx: Context) -> CaseResult {
    let refused = async |id: &str, status: ContainerStatus| {
        let error = expect::permanent(
            cx.driver().exec(id, &cx.exec_spec(["uid"])).await,
            "INVALID_STATE",
        )?;
        expect::contains("a message", &error.to_string(), status.name())
    };
    let id = cx.create(&cx.config(["forever"])).await?.id;
    refused(&id, ContainerStatus::Created).await?;
    cx.driver().start_container(&id).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    refused(&id, ContainerStatus::Stopped).await?;
    let exited = cx.finish(&cx.config(["exit", "0"])).await?.container;
    refused(&exited.id, ContainerStatus::Exited).await
}

async fn paused(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.driver().pause_container(&id).await?;
    let error = expect::permanent(
        cx.driver().exec(&id, &cx.exec_spec(["uid"])).await,
        "INVALID_STATE",
    )?;
    expect::contains("a message", &error.to_string(), "paused")
}

/// Runs commands and `forever` until their time-out, which is made longer until they had time to begin: until
/// `begun` is in the output.
async fn time_out(cx: &Context, id: &str, commands: &[&str], begun: &str) -> Result<Lines, CaseError> {
    let spec = cx.exec_spec([commands, &[",", "out", begun, ",", "forever"]].concat());
    for timeout in [1000, 5000, 20_000] {
        let result = cx.driver().exec(id, &spec.clone().timeout_ms(timeout)).await?;
        expect::that("a result that says timedOut", result.timed_out, &result)?;
        let output = Lines::new(result.stdout.to_text());
        if output.has(begun) {
            return Ok(output);
        }
    }
    Err(Failure::new("processes that begin within 20 s", format!("no line {begun:?}")).into())
}

async fn timeout_kills_the_tree(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let kinds = ["child", "grandchild", "setsid", "unname"];
    time_out(&cx, &id, &tree(&kinds), "begun").await?;
    tree_is_gone(&cx, &id).await
}

async fn timeout_kills_stubborn(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let commands = [&["ignore", "SIGTERM", ","], &tree(&["ignore", "held"])[..]].concat();
    time_out(&cx, &id, &commands, "begun").await?;
    tree_is_gone(&cx, &id).await
}

async fn timeout_kills_daemons(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    time_out(&cx, &id, &tree(&["daemon"]), "begun").await?;
    tree_is_gone(&cx, &id).await
}

async fn timeout_keeps_the_output(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let output = time_out(&cx, &id, &["trap-exit", "SIGTERM", "9"], "begun").await?;
    output.expect_line("begun")?;
    output.expect("trap", "SIGTERM")
}

async fn dropped_future(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let commands = [&tree(&["setsid"])[..], &[",", "forever"]].concat();
    let (driver, spec) = (cx.shared_driver(), cx.exec_spec(commands));
    let owned = id.clone();
    let running = tokio::spawn(async move { driver.exec(&owned, &spec).await });
    await_sleepers(&cx, &id, 1).await?;
    running.abort();
    tree_is_gone(&cx, &id).await
}

async fn ends_with_the_container(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec([&tree(&[])[..], &[",", "forever"]].concat());
    let stop = async {
        await_main(&cx, &id, true).await?;
        Ok::<_, CaseError>(cx.driver().stop_container(&id, &StopOptions::force()).await?)
    };
    let (result, stopped) = tokio::join!(soon("the end of the exec", cx.driver().exec(&id, &spec)), stop);
    stopped?;
    let result = result??;
    was_killed(result.exit_code, result.timed_out)
}

async fn many_at_once(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let one = async |number: usize| {
        let text = format!("number {number}");
        let result = cx
            .exec(&id, ["out", &text, ",", "exit", &number.to_string()])
            .await?;
        expect::equal(
            "output and exit code",
            (result.stdout.to_text(), result.exit_code),
            (text + "\n", number as i32),
        )
    };
    try_join_all((0..6).map(one)).await?;
    Ok(())
}
