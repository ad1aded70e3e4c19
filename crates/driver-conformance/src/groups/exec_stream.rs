//! `exec_stream`.

use bytes::Bytes;
use driver_types::{Capability, ContainerStatus, ExecSpec, ProcessFrame, Signal, StopOptions, TerminalSize};

use super::inside::{
    Transcript, await_process, await_sleepers, binary, fingerprint, idle, read_to_end, read_until, soon,
};
use crate::Context;
use crate::case::{CaseResult, Failure, Group};
use crate::expect;

const STREAM: &[Capability] = &[Capability::ExecStream];
/// For cases that look for the process by another exec.
const BOTH: &[Capability] = &[Capability::ExecStream, Capability::Exec];
const TTY: &[Capability] = &[Capability::ExecStream, Capability::Tty];
const HANDLE: &[&str] = &["3.execStream.handle"];
const DROP: &[&str] = &["3.execStream.drop"];

pub(super) fn register(group: &mut Group) {
    group
        .case("frames_then_exit", frames_then_exit)
        .needs(STREAM)
        .proves(HANDLE);
    group
        .case("frames_come_as_they_are_written", frames_as_written)
        .needs(STREAM)
        .proves(HANDLE);
    group
        .case("stdin_is_written_and_closed", stdin)
        .needs(STREAM)
        .proves(HANDLE);
    group
        .case("stdin_is_binary_safe", binary_stdin)
        .needs(STREAM)
        .proves(HANDLE);
    group
        .case("stdin_of_the_spec_comes_first", stdin_of_the_spec)
        .needs(STREAM)
        .proves(HANDLE);
    group
        .case("write_after_close_is_refused", write_after_close)
        .needs(STREAM)
        .proves(HANDLE);
    group.case("resize", resize).needs(TTY).proves(HANDLE);
    group
        .case("resize_without_tty_is_refused", resize_without_tty)
        .needs(STREAM)
        .proves(HANDLE);
    group.case("signal", signal).needs(STREAM).proves(HANDLE);
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
        .case("slow_reader_loses_nothing", slow_reader)
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

async fn frames_then_exit(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["raw", "out", "00ff0a", ",", "err", "to stderr", ",", "exit", "7"]);
    let (transcript, exit) = read_to_end(&mut cx.driver().exec_stream(&id, &spec).await?).await?;
    expect::equal("stdout", transcript.stdout, vec![0, 0xff, 0x0a])?;
    expect::equal("stderr", transcript.stderr, b"to stderr\n".to_vec())?;
    expect::equal(
        "exit code, signal, time-out",
        (exit.exit_code, exit.signal, exit.timed_out),
        (7, None, false),
    )
}

async fn frames_as_written(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["out", "early", ",", "forever"]);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    match soon("a frame of a process that goes on", handle.next_frame()).await? {
        Some(Ok(ProcessFrame::Stdout { data })) => expect::equal("frame", data.to_text(), "early\n"),
        other => Err(Failure::new("a frame of stdout", format!("{other:?}")).into()),
    }
}

async fn stdin(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let mut handle = cx
        .driver()
        .exec_stream(&id, &cx.exec_spec(["echo", ",", "exit", "4"]).attach_stdin())
        .await?;
    handle.write_stdin(Bytes::from("first\n")).await?;
    read_until(&mut handle, "echo=first\n").await?;
    handle.write_stdin(Bytes::from("second\nthird")).await?;
    handle.close_stdin().await?;
    handle.close_stdin().await?;
    let (transcript, exit) = read_to_end(&mut handle).await?;
    expect::equal("stdout", transcript.text(), "echo=second\necho=third\n")?;
    expect::equal("exit code", exit.exit_code, 4)
}

async fn binary_stdin(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let input = binary(500_000);
    let mut handle = cx
        .driver()
        .exec_stream(&id, &cx.exec_spec(["stdin"]).attach_stdin())
        .await?;
    for piece in input.chunks(70_000) {
        soon(
            "room for more stdin",
            handle.write_stdin(Bytes::copy_from_slice(piece)),
        )
        .await??;
    }
    handle.close_stdin().await?;
    let (transcript, _) = read_to_end(&mut handle).await?;
    expect::equal(
        "length and hash of stdin",
        transcript.text(),
        format!("stdin={}\n", fingerprint(&input)),
    )
}

async fn stdin_of_the_spec(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["echo"]).stdin("from the spec\n").attach_stdin();
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    handle.write_stdin(Bytes::from("from the handle\n")).await?;
    handle.close_stdin().await?;
    let (transcript, _) = read_to_end(&mut handle).await?;
    expect::equal(
        "stdout",
        transcript.text(),
        "echo=from the spec\necho=from the handle\n",
    )
}

async fn write_after_close(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["cat", ",", "forever"]).attach_stdin();
    let handle = cx.driver().exec_stream(&id, &spec).await?;
    handle.close_stdin().await?;
    expect::permanent(handle.write_stdin(Bytes::from("late")).await, "INVALID_STATE")?;
    Ok(())
}

async fn resize(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["watch-winsize"]).tty(TerminalSize {
        rows: 20,
        columns: 60,
    });
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    read_until(&mut handle, "winsize=20 60").await?;
    handle
        .resize(TerminalSize {
            rows: 41,
            columns: 111,
        })
        .await?;
    read_until(&mut handle, "winsize=41 111").await?;
    Ok(())
}

async fn resize_without_tty(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let handle = cx.driver().exec_stream(&id, &cx.exec_spec(["forever"])).await?;
    let size = TerminalSize {
        rows: 41,
        columns: 111,
    };
    expect::permanent(handle.resize(size).await, "CONFIGURATION_ERROR")?;
    Ok(())
}

async fn signal(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["trap", "SIGUSR1", ",", "out", "ready", ",", "forever"]);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    read_until(&mut handle, "ready").await?;
    handle.signal(Signal::USR1).await?;
    read_until(&mut handle, "trap=SIGUSR1").await?;
    handle.signal(Signal::TERM).await?;
    let (_, exit) = read_to_end(&mut handle).await?;
    expect::equal(
        "exit code and signal",
        (exit.exit_code, exit.signal),
        (143, Some(Signal::TERM)),
    )
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
    let commands = [
        "ignore",
        "SIGTERM",
        ",",
        "tree",
        "grandchild",
        "M",
        ",",
        "tree",
        "setsid",
        "M",
    ];
    let spec = cx.exec_spec(
        [
            &commands[..],
            &[",", "mark", "MAIN", ",", "out", "ready", ",", "forever"],
        ]
        .concat(),
    );
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    read_until(&mut handle, "ready").await?;
    handle.kill().await?;
    await_sleepers(&cx, &id, "M", 0).await?;
    await_process(&cx, &id, "MAIN", false).await?;
    handle.kill().await?;
    let (_, exit) = read_to_end(&mut handle).await?;
    expect::equal(
        "exit code and time-out",
        (exit.exit_code, exit.timed_out),
        (137, false),
    )
}

async fn wait_needs_no_reader(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let mut handle = cx
        .driver()
        .exec_stream(&id, &cx.exec_spec(["out", "unread", ",", "exit", "6"]))
        .await?;
    let control = &*handle;
    let both = async { tokio::join!(control.wait(), control.wait()) };
    let (first, second) = soon("the end of the process", both).await?;
    expect::equal("exit code for one waiter", first?.exit_code, 6)?;
    expect::equal("exit code for another", second?.exit_code, 6)?;
    expect::equal("exit code for a late one", handle.wait().await?.exit_code, 6)?;
    let (transcript, _) = read_to_end(&mut handle).await?;
    expect::equal("what was not read until then", transcript.text(), "unread\n")
}

async fn slow_reader(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec(["flood", "out", "6000000", ",", "mark", "MAIN", ",", "out", "end"]);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    // Other work first, so that the buffers between the process and this reader fill.
    if cx.supports(Capability::Exec) {
        for _ in 0..5 {
            cx.exec_lines(&id, ["uid"]).await?;
        }
    }
    let mut transcript = Transcript::default();
    while let Some(frame) = soon("the next frame", handle.next_frame()).await? {
        transcript.add(frame?)?;
    }
    expect::equal("bytes of stdout", transcript.stdout.len(), 6_000_004)?;
    expect::that(
        "the last line",
        transcript.stdout.ends_with(b"end\n"),
        transcript.stdout.len(),
    )
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
    let spec = cx
        .exec_spec(["tree", "setsid", "M", ",", "mark", "MAIN", ",", "forever"])
        .timeout_ms(1500);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    let (_, exit) = read_to_end(&mut handle).await?;
    expect::that("an exit for the time-out", exit.timed_out, exit)?;
    await_sleepers(&cx, &id, "M", 0).await?;
    await_process(&cx, &id, "MAIN", false).await?;
    expect::equal(
        "status of the container",
        cx.get(&id).await?.status,
        ContainerStatus::Running,
    )
}

async fn drop_kills(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec([
        "tree", "setsid", "M", ",", "mark", "MAIN", ",", "out", "ready", ",", "forever",
    ]);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    read_until(&mut handle, "ready").await?;
    drop(handle);
    await_sleepers(&cx, &id, "M", 0).await?;
    await_process(&cx, &id, "MAIN", false).await?;
    expect::equal(
        "status of the container",
        cx.get(&id).await?.status,
        ContainerStatus::Running,
    )
}

async fn drop_frames(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec([
        "mark",
        "MAIN",
        ",",
        "trap-exit",
        "SIGUSR1",
        "8",
        ",",
        "out",
        "ready",
        ",",
        "forever",
    ]);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    read_until(&mut handle, "ready").await?;
    let (frames, control) = handle.split();
    drop(frames);
    await_process(&cx, &id, "MAIN", true).await?;
    control.signal(Signal::USR1).await?;
    let exit = soon("the end of the process", control.wait()).await??;
    expect::equal("exit code", exit.exit_code, 8)
}

async fn detached(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let spec = cx.exec_spec([
        "tree",
        "child",
        "M",
        ",",
        "out",
        "ready",
        ",",
        "wait-file",
        "/tmp/go",
        ",",
        "write",
        "/tmp/done",
        "1",
    ]);
    let mut handle = cx.driver().exec_stream(&id, &spec).await?;
    read_until(&mut handle, "ready").await?;
    handle.detach();
    // It still works when it is asked to: that it does so cannot be a matter of time.
    cx.exec_lines(&id, ["write", "/tmp/go", "1", ",", "wait-file", "/tmp/done"])
        .await?;
    await_sleepers(&cx, &id, "M", 1).await
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
