//! `exec_stream`: input, output and signals of a process.

use bytes::Bytes;
use driver_types::{Capability, ProcessFrame, Signal, TerminalSize};

use super::inside::{binary, fingerprint, idle, soon};
use super::process::{
    RESIZED, RESIZED_LINE, ended_by_term, read_to_end, read_until, stream_ready, stream_until,
    wrote_and_exited,
};
use crate::Context;
use crate::case::{CaseResult, Failure, Group};
use crate::expect;

pub(super) const STREAM: &[Capability] = &[Capability::ExecStream];
const TTY: &[Capability] = &[Capability::ExecStream, Capability::Tty];
pub(super) const HANDLE: &[&str] = &["3.execStream.handle"];

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
        .case("slow_reader_loses_nothing", slow_reader)
        .needs(STREAM)
        .proves(HANDLE);
    super::exec_stream_end::register(group);
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
    wrote_and_exited(&mut handle, "echo=second\necho=third\n", 4).await
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
    wrote_and_exited(&mut handle, "echo=from the spec\necho=from the handle\n", 0).await
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
    let mut handle = stream_until(&cx, &id, &spec, "winsize=20 60").await?;
    handle.resize(RESIZED).await?;
    read_until(&mut handle, RESIZED_LINE).await?;
    Ok(())
}

async fn resize_without_tty(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let handle = cx.driver().exec_stream(&id, &cx.exec_spec(["forever"])).await?;
    expect::permanent(handle.resize(RESIZED).await, "CONFIGURATION_ERROR")?;
    Ok(())
}

async fn signal(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let mut handle = stream_ready(&cx, &id, &["trap", "SIGUSR1"]).await?;
    handle.signal(Signal::USR1).await?;
    read_until(&mut handle, "trap=SIGUSR1").await?;
    handle.signal(Signal::TERM).await?;
    ended_by_term(&mut handle).await
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
    let (transcript, _) = read_to_end(&mut handle).await?;
    expect::equal("bytes of stdout", transcript.stdout.len(), 6_000_004)?;
    expect::that(
        "the last line",
        transcript.stdout.ends_with(b"end\n"),
        transcript.stdout.len(),
    )
}
