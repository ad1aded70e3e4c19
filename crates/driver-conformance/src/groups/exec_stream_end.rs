//! `exec_stream`: how and when a process ends, and what ends with its handle.

use driver_types::{Capability, ExecSpec, Signal, StopOptions};

use super::exec_stream::{HANDLE, STREAM};
use super::inside::{idle, soon};
use super::process::{
    await_main, await_sleepers, read_to_end, stream_ready, stream_until, tree, tree_is_gone, two_waiters_get,
    was_killed,
};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

/// For cases that look for the process by another exec.
const BOTH: &[Capability] = &[Capability::ExecStream, Capability::Exec];
const DROP: &[&str] = &["3.execStream.drop"];

pub(super) fn register(group: &mut Group) {
    group
        .case("signal_after_the_end_is_refused", signal_after_the_end)
        .needs(STREAM)
        .proves(HANDLE);
    group.case("kill_kills_the_tree", kill).needs(BOTH).proves(HANDLE);
    group
        .case("wait_needs_no_reader", wait_needs_no_reader)
        .needs(STREAM)
        .proves(HANDLE);
    group
        .case("missing_program", missing_program)
        .needs(STREAM)
        .proves(&["3.exec.missing"]);
    group
        .case("timeout_kills_the_tree", timeout)
        .needs(BOTH)
        .proves(&["3.exec.timeout"]);
    group
        .case("drop_kills_the_tree", drop_kills)
        .needs(BOTH)
        .proves(DROP);
    group
        .case("dropping_the_frames_alone_kills_nothing", drop_frames)
        .needs(BOTH)
        .proves(DROP);
    group.case("detached_lives_on", detached).needs(BOTH).proves(DROP);
    group
        .case("not_running", not_running)
        .needs(STREAM)
        .proves(&["3.exec.state", "2.invalid"]);
}

async fn signal_after_the_end(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let mut handle = cx.driver().exec_stream(&id, &cx.exec_spec(["exit", "0"])).await?;
    read_to_end(&mut handle).await?;
    expect::permanent(handle.signal(Signal::TERM).await, "INVALID_STATE")?;
    Ok(())
}

async fn kill(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let commands = [&["ignore", "SIGTERM", ","], &tree(&["grandchild", "setsid"])[..]].concat();
    let mut handle = stream_ready(&cx, &id, &commands).await?;
    handle.kill().await?;
    tree_is_gone(&cx, &id).await?;
    handle.kill().await?;
    let (_, exit) = read_to_end(&mut handle).await?;
    was_killed(exit.exit_code, exit.timed_out)
}

async fn wait_needs_no_reader(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["out", "unread", ",", "exit", "6"]);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    two_waiters_get(&*handle, 6).await?;
    expect::equal("exit code for a late waiter", handle.wait().await?.exit_code, 6)?;
    let (transcript, _) = read_to_end(&mut handle).await?;
    expect::equal("what was not read until then", transcript.text(), "unread\n")
}

async fn missing_program(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let mut handle = cx
        .driver()
        .exec_stream(&id, &ExecSpec::new(["/nowhere/program"]))
        .await?;
    let (_, exit) = read_to_end(&mut handle).await?;
    expect::equal("exit code", exit.exit_code, 127)
}

async fn timeout(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let commands = [&tree(&["setsid"])[..], &[",", "forever"]].concat();
    let spec = cx.exec_spec(commands).timeout_ms(1500);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    let (_, exit) = read_to_end(&mut handle).await?;
    expect::that("an exit for the time-out", exit.timed_out, exit)?;
    tree_is_gone(&cx, &id).await
}

async fn drop_kills(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    drop(stream_ready(&cx, &id, &tree(&["setsid"])).await?);
    tree_is_gone(&cx, &id).await
}

async fn drop_frames(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let commands = [&tree(&[])[..], &[",", "trap-exit", "SIGUSR1", "8"]].concat();
    let (frames, control) = stream_ready(&cx, &id, &commands).await?.split();
    drop(frames);
    await_main(&cx, &id, true).await?;
    control.signal(Signal::USR1).await?;
    let exit = soon("the end of the process", control.wait()).await??;
    expect::equal("exit code", exit.exit_code, 8)
}

async fn detached(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let go_on = ["wait-file", "/tmp/go", ",", "write", "/tmp/done", "1"];
    let spec = cx.exec_spec([&tree(&["child"])[..], &[",", "out", "ready", ","], &go_on].concat());
    let handle = stream_until(&cx, &id, &spec, "ready").await?;
    handle.detach();
    // It still works when it is asked to: that it does so cannot be a matter of time.
    cx.exec_lines(&id, ["write", "/tmp/go", "1", ",", "wait-file", "/tmp/done"])
        .await?;
    await_sleepers(&cx, &id, 1).await
}

async fn not_running(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(["forever"])).await?.id;
    let spec = cx.exec_spec(["uid"]);
    expect::permanent(cx.driver().exec_stream(&id, &spec).await, "INVALID_STATE")?;
    cx.driver().start_container(&id).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    expect::permanent(cx.driver().exec_stream(&id, &spec).await, "INVALID_STATE")?;
    Ok(())
}
