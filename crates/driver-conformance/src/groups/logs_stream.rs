//! `stream_logs`: the other half of the group `logs`.

use std::time::Duration;

use driver_types::{
    Capability, ContainerDriverExt, ContainerStatus, LogFrame, LogOptions, OutputStream, StopOptions,
};
use futures_util::{StreamExt, TryStreamExt};

use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

/// Bytes that a log must carry unchanged: a frame header of Docker with a huge length, bytes that are not UTF-8, NUL,
/// terminal escapes, a lone carriage return, and no newline at the end.
const HOSTILE: &[u8] =
    b"\x01\x00\x00\x00\x7f\xff\xff\xff\xc3\x28\x00\x1b[2J\r\n\xff\xfe{\"log\":\"\\u0000\"}\n\x02\x00\x00\x00\x00\x00\x00\x05end";

pub(super) fn register(group: &mut Group) {
    let streamed = |case: &mut crate::Case| {
        case.proves(&["3.streamLogs"]).needs(&[Capability::StreamLogs]);
    };
    streamed(group.case("hostile_bytes", hostile_bytes));
    streamed(
        group
            .case("hostile_bytes_are_bounded", hostile_bytes_on_a_terminal)
            .needs(&[Capability::Tty]),
    );
    streamed(group.case("frames_tell_stream_and_time", frames_tell_stream_and_time));
    streamed(group.case("follow_ends_with_the_container", follow_ends_with_the_container));
    streamed(group.case("follow_from_before_the_start", follow_from_before_the_start));
    streamed(group.case("follow_after_the_end", follow_after_the_end));
    streamed(group.case("follow_comes_as_it_is_written", follow_comes_as_it_is_written));
    streamed(group.case("follow_ends_when_removed", follow_ends_when_removed));
    streamed(group.case("dropped_reader", dropped_reader));
    streamed(group.case("stream_takes_options", stream_takes_options));
}

/// All frames that the log has, or gets until it ends.
pub(super) async fn frames(cx: &Context, id: &str, options: &LogOptions) -> Result<Vec<LogFrame>, CaseError> {
    Ok(cx.driver().stream_logs(id, options).await?.try_collect().await?)
}

fn bytes_of(frames: &[LogFrame], stream: OutputStream) -> Vec<u8> {
    frames
        .iter()
        .filter(|frame| frame.stream == stream)
        .flat_map(|frame| frame.data.to_vec())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn hostile_bytes(cx: Context) -> CaseResult {
    let commands = ["raw", "out", &hex(HOSTILE), ",", "raw", "err", &hex(HOSTILE)];
    let id = cx.finish(&cx.config(commands)).await?.container.id;
    let frames = frames(&cx, &id, &LogOptions::default()).await?;
    expect::equal(
        "bytes of stdout",
        bytes_of(&frames, OutputStream::Stdout),
        HOSTILE,
    )?;
    expect::equal(
        "bytes of stderr",
        bytes_of(&frames, OutputStream::Stderr),
        HOSTILE,
    )
}

async fn hostile_bytes_on_a_terminal(cx: Context) -> CaseResult {
    let container = cx
        .run(
            &cx.config(["raw", "out", &hex(HOSTILE), ",", "out", "after", ",", "forever"])
                .tty(true),
        )
        .await?;
    let mut stream = cx
        .driver()
        .stream_logs(&container.id, &LogOptions::follow())
        .await?;
    let mut seen = Vec::new();
    while let Some(frame) = stream.next().await {
        seen.extend_from_slice(&frame?.data);
        // The terminal makes CRLF of each newline.
        if String::from_utf8_lossy(&seen).contains("after") {
            return expect::that("the bytes before it", seen.starts_with(&HOSTILE[..8]), &seen);
        }
    }
    expect::that("a stream that goes on", false, &seen)
}

async fn frames_tell_stream_and_time(cx: Context) -> CaseResult {
    let finished = cx.finish(&cx.config(["out", "a", ",", "err", "b"])).await?;
    let frames = frames(&cx, &finished.container.id, &LogOptions::default()).await?;
    expect::equal("stdout", bytes_of(&frames, OutputStream::Stdout), b"a\n")?;
    expect::equal("stderr", bytes_of(&frames, OutputStream::Stderr), b"b\n")?;
    let started = finished.container.started_at.unwrap_or_default();
    // Engine and log may round differently.
    let plausible = started.saturating_sub(1000)..=finished.exit.finished_at + 1000;
    let times: Vec<_> = frames.iter().map(|frame| frame.time).collect();
    expect::that(
        format!("times in {plausible:?}"),
        times.iter().all(|time| plausible.contains(time)),
        &times,
    )
}

async fn follow_ends_with_the_container(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "0"]).await?;
    let stream = cx
        .driver()
        .stream_logs(&container.id, &LogOptions::follow())
        .await?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::default())
        .await?;
    let frames: Vec<_> = stream.try_collect().await?;
    let text = String::from_utf8_lossy(&bytes_of(&frames, OutputStream::Stdout)).into_owned();
    expect::equal("the whole log", text, "ready\ntrap=SIGTERM\n")
}

async fn follow_from_before_the_start(cx: Context) -> CaseResult {
    let container = cx
        .create(&cx.config(["out", "first", ",", "out", "second"]))
        .await?;
    let stream = cx
        .driver()
        .stream_logs(&container.id, &LogOptions::follow())
        .await?;
    cx.driver().start_container(&container.id).await?;
    let frames: Vec<_> = stream.try_collect().await?;
    expect::equal(
        "the whole log",
        bytes_of(&frames, OutputStream::Stdout),
        b"first\nsecond\n",
    )
}

async fn follow_after_the_end(cx: Context) -> CaseResult {
    let id = cx.finish(&cx.config(["lines", "out", "3"])).await?.container.id;
    let frames = frames(&cx, &id, &LogOptions::follow()).await?;
    expect::equal(
        "the whole log",
        bytes_of(&frames, OutputStream::Stdout),
        b"line 1\nline 2\nline 3\n",
    )
}

async fn follow_comes_as_it_is_written(cx: Context) -> CaseResult {
    let container = cx.ready(["trap", "USR1"]).await?;
    let mut stream = cx
        .driver()
        .stream_logs(&container.id, &LogOptions::follow())
        .await?;
    let first = expect::some("a frame", stream.next().await)??;
    expect::equal("the first frame", first.data.to_text(), "ready\n")?;
    // The container runs on, so nothing but an error may end the wait for more.
    let early = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    expect::that("no frame while nothing is written", early.is_err(), early)
}

async fn follow_ends_when_removed(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let stream = cx
        .driver()
        .stream_logs(&container.id, &LogOptions::follow())
        .await?;
    cx.driver().force_remove(&container.id).await?;
    // Ends in time; whether with an error does not matter: the container is gone.
    stream.for_each(|_| async {}).await;
    Ok(())
}

async fn dropped_reader(cx: Context) -> CaseResult {
    let container = cx.run(&cx.config(["ticks", "10", "1000000"])).await?;
    for _ in 0..5 {
        let mut stream = cx
            .driver()
            .stream_logs(&container.id, &LogOptions::follow())
            .await?;
        expect::some("a frame", stream.next().await)??;
    }
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Running,
    )
}

async fn stream_takes_options(cx: Context) -> CaseResult {
    let id = cx
        .finish(&cx.config(["lines", "out", "5", ",", "err", "x"]))
        .await?
        .container
        .id;
    let stderr = LogOptions {
        stdout: false,
        ..LogOptions::default()
    };
    let found = frames(&cx, &id, &stderr).await?;
    expect::equal("stdout", bytes_of(&found, OutputStream::Stdout), b"")?;
    expect::equal("stderr", bytes_of(&found, OutputStream::Stderr), b"x\n")?;
    let found = frames(&cx, &id, &LogOptions::tail(0)).await?;
    expect::equal("frames of tail 0", found.len(), 0)?;
    let id = cx.finish(&cx.config(["lines", "out", "5"])).await?.container.id;
    let found = frames(&cx, &id, &LogOptions::tail(2)).await?;
    expect::equal(
        "the last two lines",
        bytes_of(&found, OutputStream::Stdout),
        b"line 4\nline 5\n",
    )
}
