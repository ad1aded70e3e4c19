//! `attach`.

use bytes::Bytes;
use driver_types::{Capability, Signal, StopOptions};

use super::inside::{idle, soon};
use super::process::{
    RESIZED, RESIZED_LINE, ended_by_term, read_to_end, read_until, still_runs, two_waiters_get,
    wrote_and_exited,
};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

const ATTACH: &[Capability] = &[Capability::Attach];
const RULE: &[&str] = &["3.attach"];
const STDIN: &[&str] = &["3.attach", "1.config.stdin"];

pub(super) fn register(group: &mut Group) {
    group
        .case("before_start", before_start)
        .needs(ATTACH)
        .proves(RULE);
    group
        .case("output_from_now_on", output_from_now_on)
        .needs(&[Capability::Attach, Capability::Exec])
        .proves(RULE);
    group
        .case("frames_then_exit", frames_then_exit)
        .needs(ATTACH)
        .proves(RULE);
    group
        .case("close_does_not_stop", close_does_not_stop)
        .needs(ATTACH)
        .proves(RULE);
    group
        .case("two_handles_see_the_same", two_handles)
        .needs(ATTACH)
        .proves(RULE);
    group
        .case("stdin_reaches_the_process", stdin)
        .needs(ATTACH)
        .proves(STDIN);
    group
        .case("stdin_outlives_a_handle", stdin_outlives_a_handle)
        .needs(ATTACH)
        .proves(STDIN);
    group
        .case("close_stdin_is_the_end_of_file", close_stdin)
        .needs(ATTACH)
        .proves(STDIN);
    group
        .case("without_stdin_it_is_empty", without_stdin)
        .proves(&["1.config.stdin"]);
    group
        .case("signal_and_wait", signal_and_wait)
        .needs(ATTACH)
        .proves(RULE);
    group
        .case("kill_ends_the_container", kill)
        .needs(ATTACH)
        .proves(RULE);
    group
        .case("tty", tty)
        .needs(&[Capability::Attach, Capability::Tty])
        .proves(&["3.attach", "1.config.tty"]);
    group
        .case("ended", ended)
        .needs(ATTACH)
        .proves(&["3.attach", "2.invalid"]);
}

async fn before_start(cx: Context) -> CaseResult {
    let id = cx
        .create(&cx.config(["out", "hello", ",", "err", "trouble", ",", "exit", "3"]))
        .await?
        .id;
    let mut handle = cx.driver().attach(&id).await?;
    cx.driver().start_container(&id).await?;
    let (transcript, exit) = read_to_end(&mut handle).await?;
    expect::equal("stdout", transcript.text(), "hello\n")?;
    expect::equal("stderr", transcript.stderr, b"trouble\n".to_vec())?;
    expect::equal("exit code", exit.exit_code, 3)
}

async fn output_from_now_on(cx: Context) -> CaseResult {
    // The container outlives the exec: the end of its main process would kill that too.
    let commands = [
        "out",
        "before",
        ",",
        "wait-file",
        "/tmp/go",
        ",",
        "out",
        "after",
        ",",
        "forever",
    ];
    let id = cx.run(&cx.config(commands).stdin(true)).await?.id;
    cx.await_line(&id, "before").await?;
    let mut handle = cx.driver().attach(&id).await?;
    cx.exec_lines(&id, ["write", "/tmp/go", "1"]).await?;
    cx.await_line(&id, "after").await?;
    handle.signal(Signal::TERM).await?;
    let (transcript, _) = read_to_end(&mut handle).await?;
    expect::equal("stdout", transcript.text(), "after\n")
}

async fn frames_then_exit(cx: Context) -> CaseResult {
    let id = cx.ready_with(cx.config(["err", "before"])).await?.id;
    let mut handle = cx.driver().attach(&id).await?;
    handle.signal(Signal::TERM).await?;
    ended_by_term(&mut handle).await
}

async fn close_does_not_stop(cx: Context) -> CaseResult {
    let id = cx.ready_with(cx.config(["trap-exit", "SIGTERM", "5"])).await?.id;
    drop(cx.driver().attach(&id).await?);
    let handle = cx.driver().attach(&id).await?;
    still_runs(&cx, &id).await?;
    handle.signal(Signal::TERM).await?;
    expect::equal(
        "exit code of the process's own choice",
        cx.wait_exit(&id).await?.exit_code,
        Some(5),
    )
}

async fn two_handles(cx: Context) -> CaseResult {
    let id = cx
        .create(&cx.config(["out", "for both", ",", "exit", "2"]))
        .await?
        .id;
    let (mut one, mut two) = (cx.driver().attach(&id).await?, cx.driver().attach(&id).await?);
    cx.driver().start_container(&id).await?;
    for handle in [&mut one, &mut two] {
        wrote_and_exited(handle, "for both\n", 2).await?;
    }
    Ok(())
}

async fn stdin(cx: Context) -> CaseResult {
    let id = cx.run(&cx.config(["echo"]).stdin(true)).await?.id;
    let mut handle = cx.driver().attach(&id).await?;
    handle.write_stdin(Bytes::from("one\n")).await?;
    read_until(&mut handle, "echo=one\n").await?;
    handle.write_stdin(Bytes::from("two\n")).await?;
    read_until(&mut handle, "echo=two\n").await?;
    cx.lines(&id).await?.expect_line("echo=two")
}

async fn stdin_outlives_a_handle(cx: Context) -> CaseResult {
    let id = cx
        .run(&cx.config(["echo", ",", "exit", "4"]).stdin(true))
        .await?
        .id;
    for line in ["one", "two"] {
        let mut handle = cx.driver().attach(&id).await?;
        handle.write_stdin(Bytes::from(format!("{line}\n"))).await?;
        read_until(&mut handle, &format!("echo={line}\n")).await?;
    }
    still_runs(&cx, &id).await
}

async fn close_stdin(cx: Context) -> CaseResult {
    let id = cx
        .run(&cx.config(["echo", ",", "exit", "4"]).stdin(true))
        .await?
        .id;
    let mut handle = cx.driver().attach(&id).await?;
    handle.write_stdin(Bytes::from("last")).await?;
    handle.close_stdin().await?;
    wrote_and_exited(&mut handle, "echo=last\n", 4).await?;
    expect::permanent(handle.write_stdin(Bytes::from("late")).await, "INVALID_STATE")?;
    Ok(())
}

async fn without_stdin(cx: Context) -> CaseResult {
    let finished = soon("the end of stdin", cx.finish(&cx.config(["stdin"]))).await??;
    finished.output.expect("stdin", "0 cbf29ce484222325")
}

async fn signal_and_wait(cx: Context) -> CaseResult {
    let id = cx.ready_with(cx.config(["trap-exit", "SIGUSR1", "11"])).await?.id;
    let handle = cx.driver().attach(&id).await?;
    handle.signal(Signal::USR1).await?;
    two_waiters_get(&*handle, 11).await
}

async fn kill(cx: Context) -> CaseResult {
    let id = cx.ready_with(cx.config(["ignore", "SIGTERM"])).await?.id;
    let handle = cx.driver().attach(&id).await?;
    handle.kill().await?;
    expect::that(
        "a container that has ended",
        cx.get(&id).await?.status.has_ended(),
        cx.get(&id).await?.status,
    )?;
    expect::equal("exit code", cx.wait_exit(&id).await?.exit_code, Some(137))
}

async fn tty(cx: Context) -> CaseResult {
    let config = cx
        .config(["tty", ",", "out", "ready", ",", "watch-winsize"])
        .stdin(true)
        .tty(true);
    let id = cx.create(&config).await?.id;
    let mut handle = cx.driver().attach(&id).await?;
    cx.driver().start_container(&id).await?;
    let begin = read_until(&mut handle, "ready").await?;
    expect::contains("stdout", &begin.text(), "tty=yes,yes,yes")?;
    handle.resize(RESIZED).await?;
    read_until(&mut handle, RESIZED_LINE).await?;
    Ok(())
}

async fn ended(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    expect::permanent(cx.driver().attach(&id).await, "INVALID_STATE")?;
    Ok(())
}
