//! `get_container_logs`.

use driver_types::{Capability, ContainerStatus, LogFrame, LogOptions, StopOptions};

use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("in_every_status", in_every_status)
        .proves(&["3.logs.status"]);
    group
        .case("both_streams", both_streams)
        .proves(&["3.logs.options"]);
    group.case("one_stream", one_stream).proves(&["3.logs.options"]);
    group
        .case("order_of_arrival", order_of_arrival)
        .proves(&["3.logs.order"]);
    group.case("tail_zero", tail_zero).proves(&["3.logs.options"]);
    group
        .case("tail_counts_lines", tail_counts_lines)
        .proves(&["3.logs.options"]);
    group
        .case("tail_more_than_there_is", tail_more_than_there_is)
        .proves(&["3.logs.options"]);
    group.case("timestamps", timestamps).proves(&["3.logs.options"]);
    group
        .case("since_and_until", since_and_until)
        .proves(&["3.logs.options"])
        .needs(&[Capability::StreamLogs]);
    group
        .case("follow_is_refused", follow_is_refused)
        .proves(&["3.logs.follow"]);
    group
        .case("not_utf8_is_replaced", not_utf8_is_replaced)
        .proves(&["3.logs.order"]);
    group
        .case("last_line_without_newline", last_line_without_newline)
        .proves(&["3.logs.order"]);
    group.case("long_line", long_line).proves(&["3.logs.order"]);
    group
        .case("tail_of_long_lines", tail_of_long_lines)
        .proves(&["3.logs.options"]);
    group.case("large_log", large_log).proves(&["3.logs.order"]);
    group
        .case("terminal", terminal)
        .proves(&["1.config.tty"])
        .needs(&[Capability::Tty]);
    super::logs_stream::register(group);
}

async fn in_every_status(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["out", "x", ",", "forever"])).await?;
    expect::equal("log of created", cx.log(&container.id).await?, "")?;
    cx.driver().start_container(&container.id).await?;
    cx.await_line(&container.id, "x").await?;
    expect::equal("log of running", cx.log(&container.id).await?, "x\n")?;
    cx.driver()
        .stop_container(&container.id, &StopOptions::force())
        .await?;
    expect::equal("log of stopped", cx.log(&container.id).await?, "x\n")?;
    let finished = cx.finish(&cx.config(["out", "y"])).await?;
    expect::equal("status", finished.container.status, ContainerStatus::Exited)?;
    expect::equal("log of exited", finished.output.text(), "y\n")
}

async fn both_streams(cx: Context) -> CaseResult {
    let output = cx.output(["out", "to stdout", ",", "err", "to stderr"]).await?;
    output.expect_line("to stdout")?;
    output.expect_line("to stderr")
}

async fn one_stream(cx: Context) -> CaseResult {
    let id = cx
        .finish(&cx.config(["out", "to stdout", ",", "err", "to stderr"]))
        .await?
        .container
        .id;
    for (stdout, stderr, expected) in [(true, false, "to stdout\n"), (false, true, "to stderr\n")] {
        let options = LogOptions {
            stdout,
            stderr,
            ..LogOptions::default()
        };
        let log = cx.driver().get_container_logs(&id, &options).await?;
        expect::equal(
            format!("log with stdout {stdout}, stderr {stderr}"),
            log,
            expected,
        )?;
    }
    Ok(())
}

async fn order_of_arrival(cx: Context) -> CaseResult {
    let finished = cx.finish(&cx.config(["lines", "out", "500"])).await?;
    let in_order = finished
        .output
        .iter()
        .enumerate()
        .all(|(index, line)| line == format!("line {}", index + 1));
    expect::equal("lines", finished.output.iter().count(), 500)?;
    expect::that("lines in order", in_order, finished.output.text())
}

async fn tail_zero(cx: Context) -> CaseResult {
    let id = cx.finish(&cx.config(["lines", "out", "3"])).await?.container.id;
    expect::equal(
        "log",
        cx.driver().get_container_logs(&id, &LogOptions::tail(0)).await?,
        "",
    )
}

async fn tail_counts_lines(cx: Context) -> CaseResult {
    let id = cx.finish(&cx.config(["lines", "out", "20"])).await?.container.id;
    let log = cx.driver().get_container_logs(&id, &LogOptions::tail(2)).await?;
    expect::equal("last two lines", log, "line 19\nline 20\n")
}

async fn tail_more_than_there_is(cx: Context) -> CaseResult {
    let id = cx.finish(&cx.config(["lines", "out", "2"])).await?.container.id;
    let log = cx
        .driver()
        .get_container_logs(&id, &LogOptions::tail(1_000_000))
        .await?;
    expect::equal("log", log, "line 1\nline 2\n")
}

async fn timestamps(cx: Context) -> CaseResult {
    let id = cx.finish(&cx.config(["lines", "out", "2"])).await?.container.id;
    let options = LogOptions {
        timestamps: true,
        ..LogOptions::default()
    };
    let log = cx.driver().get_container_logs(&id, &options).await?;
    expect::equal("lines", log.lines().count(), 2)?;
    for (index, line) in log.lines().enumerate() {
        let (time, text) = expect::some("a time, a space and the line", line.split_once(' '))?;
        expect::equal("line", text, format!("line {}", index + 1).as_str())?;
        expect::that("a time of RFC 3339 in UTC", is_utc_time(time), time)?;
    }
    Ok(())
}

/// `2026-11-23T20:15:30.123456789Z`
fn is_utc_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let Some((seconds, fraction)) = shape
        .strip_suffix('Z')
        .and_then(|shape| shape.split_at_checked(19))
    else {
        return false;
    };
    let is_fraction = |digits: &str| !digits.is_empty() && digits.chars().all(|c| c == '0');
    seconds == "0000-00-00T00:00:00"
        && (fraction.is_empty() || fraction.strip_prefix('.').is_some_and(is_fraction))
}

/// A time belongs to when the engine read the line, so that on a slow machine ticks can share one.
async fn since_and_until(cx: Context) -> CaseResult {
    let id = cx.finish(&cx.config(["ticks", "100", "5"])).await?.container.id;
    let frames = super::logs_stream::frames(&cx, &id, &LogOptions::default()).await?;
    let later = frames.iter().position(|frame| frame.time > frames[0].time);
    let (before, from) = frames.split_at(expect::some("a tick later than the first", later)?);
    let text = |frames: &[LogFrame]| -> String { frames.iter().map(|frame| frame.data.to_text()).collect() };
    expect::equal(
        "the log",
        text(&frames),
        "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\n",
    )?;
    let time = from[0].time;
    let since = LogOptions {
        since: Some(time),
        ..LogOptions::default()
    };
    let log = cx.driver().get_container_logs(&id, &since).await?;
    expect::equal("log since the later tick", log, text(from))?;
    let until = LogOptions {
        until: Some(time),
        ..LogOptions::default()
    };
    let log = cx.driver().get_container_logs(&id, &until).await?;
    expect::equal("log until the later tick", log, text(before))?;
    let none = LogOptions {
        since: Some(time),
        until: Some(time),
        ..LogOptions::default()
    };
    expect::equal(
        "log of no time",
        cx.driver().get_container_logs(&id, &none).await?,
        "",
    )
}

async fn follow_is_refused(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    let result = cx
        .driver()
        .get_container_logs(&container.id, &LogOptions::follow())
        .await;
    let error = expect::violation(result, "/follow")?;
    expect::contains(
        "a pointer to the other operation",
        &error.to_string(),
        "stream_logs",
    )
}

async fn not_utf8_is_replaced(cx: Context) -> CaseResult {
    let id = cx
        .finish(&cx.config(["raw", "out", "61ff620a"]))
        .await?
        .container
        .id;
    expect::equal("log", cx.log(&id).await?, "a\u{fffd}b\n")
}

async fn last_line_without_newline(cx: Context) -> CaseResult {
    let id = cx
        .finish(&cx.config(["out", "first", ",", "raw", "out", "6c617374"]))
        .await?
        .container
        .id;
    expect::equal("log", cx.log(&id).await?, "first\nlast")?;
    let tail = cx.driver().get_container_logs(&id, &LogOptions::tail(1)).await?;
    expect::equal("last line", tail, "last")
}

/// Longer than the pieces in which engines keep lines.
const LONG: usize = 100_000;

async fn long_line(cx: Context) -> CaseResult {
    let line = "x".repeat(LONG);
    let id = cx
        .finish(&cx.config(["out", &line, ",", "out", "next"]))
        .await?
        .container
        .id;
    let log = cx.log(&id).await?;
    expect::equal("bytes", log.len(), LONG + "\nnext\n".len())?;
    expect::that(
        "the line in one piece",
        log.lines().next() == Some(line.as_str()),
        "another line",
    )
}

async fn tail_of_long_lines(cx: Context) -> CaseResult {
    let line = "x".repeat(LONG);
    let id = cx
        .finish(&cx.config(["out", "first", ",", "out", &line, ",", "out", "last"]))
        .await?
        .container
        .id;
    let log = cx.driver().get_container_logs(&id, &LogOptions::tail(2)).await?;
    let lengths: Vec<_> = log.lines().map(str::len).collect();
    expect::equal("lengths of the last two lines", lengths, vec![LONG, "last".len()])
}

async fn large_log(cx: Context) -> CaseResult {
    let bytes = 2_000_000;
    let id = cx
        .finish(&cx.config(["flood", "out", &bytes.to_string()]))
        .await?
        .container
        .id;
    let log = cx.log(&id).await?;
    let expected = (0..bytes).map(|index| {
        if index % 64 == 63 {
            b'\n'
        } else {
            b'a' + (index / 64 % 26) as u8
        }
    });
    expect::equal("bytes", log.len(), bytes)?;
    expect::that("every byte as written", log.bytes().eq(expected), "other bytes")
}

async fn terminal(cx: Context) -> CaseResult {
    let finished = cx
        .finish(&cx.config(["tty", ",", "err", "merged"]).tty(true))
        .await?;
    finished.output.expect("tty", "yes,yes,yes")?;
    expect::contains("stderr in the one stream", finished.output.text(), "merged")?;
    let stderr = LogOptions {
        stdout: false,
        ..LogOptions::default()
    };
    let log = cx
        .driver()
        .get_container_logs(&finished.container.id, &stderr)
        .await?;
    expect::equal("stderr of a terminal", log, "")
}
