//! Logs of a container: as text, and as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use driver_types::{
    BoxStream, ContainerStatus, DriverError, LogFrame, LogOptions, Operation, OutputStream, Result,
};
use driver_validation::{validate_log_options, validate_stream_log_options};
use futures_util::{Stream, StreamExt};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::log_decoder::{Entry, LogDecoder};
use crate::{DRIVER_NAME, error, liveness};

/// How often a container that was not started yet is looked at by a reader that follows it.
const START_POLL: Duration = Duration::from_millis(200);
/// How long after the end of its log a container may still seem to run.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long the engine may send nothing of a log that is not followed.
const STALL: Duration = Duration::from_secs(60);
const END_POLL: Duration = Duration::from_millis(20);

/// The logs as text.
pub(crate) async fn get_container_logs(
    engine: &Arc<Engine>,
    id: &str,
    options: &LogOptions,
) -> Result<String> {
    validate_log_options(options)?;
    let mut text = BytesMut::new();
    if let Some(mut reader) = Reader::open(engine, Operation::GetContainerLogs, id, options).await? {
        while let Some(frame) = reader.next().await? {
            text.extend_from_slice(&frame.data);
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The logs as frames.
pub(crate) async fn stream_logs(
    engine: &Arc<Engine>,
    id: &str,
    options: &LogOptions,
) -> Result<BoxStream<LogFrame>> {
    validate_stream_log_options(options)?;
    let reader = Reader::open(engine, Operation::StreamLogs, id, options).await?;
    Ok(Box::pin(futures_util::stream::unfold(
        reader,
        |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(frame) => frame.map(|frame| (Ok(frame), Some(reader))),
                Err(error) => {
                    let operation = reader.source.operation.name();
                    Some((
                        Err(error.with_operation(operation).with_driver(DRIVER_NAME)),
                        None,
                    ))
                }
            }
        },
    )))
}

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

/// One reading of a log.
struct Reader {
    source: Source,
    tail: Tail,
    decoder: LogDecoder,
    /// Absent until the container was started.
    body: Option<Body>,
    last: Last,
    phase: Phase,
}

/// How far the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Of the reply that was asked for.
    Reading,
    /// Of what a follow has missed.
    CatchingUp,
    /// The reply has ended.
    Done,
}

/// The newest entry, so that a reading can be taken up after it.
#[derive(Debug, Default)]
struct Last {
    stamp: Bytes,
    /// How many entries had just this time.
    count: u64,
    /// Of a taken up reading: how many of them come again.
    again: u64,
}

impl Last {
    /// Notes an entry; `false` for one that was seen before.
    fn is_new(&mut self, entry: &Entry) -> bool {
        if entry.stamp != self.stamp {
            self.stamp = entry.stamp.clone();
            (self.count, self.again) = (0, 0);
        }
        if self.again > 0 {
            self.again -= 1;
            return false;
        }
        self.count += 1;
        true
    }
}

/// Whose log is read, and which part of it.
struct Source {
    engine: Arc<Engine>,
    operation: Operation,
    id: String,
    tty: bool,
    log_driver: String,
    options: LogOptions,
}

/// Leaves out the lines before the tail.
#[derive(Debug, Default)]
struct Tail {
    /// Lines that are still to be left out.
    skip: u64,
    /// Whether the current line of stdout, of stderr, is left out.
    skipping: [bool; 2],
}

impl Tail {
    fn takes(&mut self, entry: &Entry) -> bool {
        let skipping = &mut self.skipping[usize::from(entry.stream == OutputStream::Stderr)];
        if entry.begins_line {
            *skipping = self.skip > 0;
            self.skip = self.skip.saturating_sub(1);
        }
        !*skipping
    }
}

impl Reader {
    /// `None` where nothing is asked for.
    async fn open(
        engine: &Arc<Engine>,
        operation: Operation,
        id: &str,
        options: &LogOptions,
    ) -> Result<Option<Self>> {
        let inspect = engine.inspect(operation, id).await?;
        if options.tail == Some(0) && !options.follow {
            return Ok(None);
        }
        let source = Source {
            engine: Arc::clone(engine),
            operation,
            id: id.to_owned(),
            tty: inspect.config.tty,
            log_driver: inspect.host_config.log_config.kind.clone(),
            options: *options,
        };
        let skip = source.lines_before_tail().await?;
        let not_started = liveness::status(engine, &inspect) == ContainerStatus::Created;
        let body = if not_started && options.follow {
            None
        } else {
            Some(source.request(options.follow, None).await?)
        };
        Ok(Some(Self {
            tail: Tail {
                skip,
                ..Tail::default()
            },
            decoder: source.decoder(),
            body,
            last: Last::default(),
            phase: Phase::Reading,
            source,
        }))
    }

    async fn next(&mut self) -> Result<Option<LogFrame>> {
        loop {
            if let Some(entry) = self.source.checked(self.decoder.next())? {
                if self.last.is_new(&entry) && self.source.wants(&entry) && self.tail.takes(&entry) {
                    return Ok(Some(self.frame(entry)));
                }
                continue;
            }
            if self.phase == Phase::Done {
                return Ok(None);
            }
            let Some(body) = &mut self.body else {
                self.body = self.source.started().await?;
                if self.body.is_none() {
                    self.phase = Phase::Done;
                }
                continue;
            };
            let follow = self.source.options.follow && self.phase == Phase::Reading;
            match in_time(body.next(), follow).await? {
                Some(bytes) => self.decoder.push(self.source.checked(bytes)?),
                None => {
                    self.decoder.finish();
                    self.phase = Phase::Done;
                    if follow {
                        self.catch_up().await?;
                    }
                }
            }
        }
    }

    /// A follow of the engine may end before the last entries: they are read after it.
    async fn catch_up(&mut self) -> Result<()> {
        let is_gone = self.source.ended().await?;
        let nothing_seen = self.last.stamp.is_empty();
        if is_gone || (nothing_seen && self.source.options.tail == Some(0)) {
            return Ok(());
        }
        self.body = Some(self.source.request(false, Some(&self.last.stamp)).await?);
        self.decoder.begin_reply();
        self.last.again = self.last.count;
        self.phase = Phase::CatchingUp;
        Ok(())
    }

    fn frame(&self, entry: Entry) -> LogFrame {
        let data = if self.source.options.timestamps && entry.begins_line {
            [entry.stamp.as_ref(), b" ", entry.data.as_ref()].concat().into()
        } else {
            entry.data
        };
        LogFrame {
            stream: entry.stream,
            time: entry.time,
            data: data.into(),
        }
    }
}

impl Source {
    fn decoder(&self) -> LogDecoder {
        LogDecoder::new(self.tty).mend_line_ends(self.log_driver == "local")
    }

    /// Lines to skip. Counted in a reading of its own, so that nothing is held in memory. The engine's own tail is not
    /// one of lines: it counts the pieces of long ones, and counts before it filters.
    async fn lines_before_tail(&self) -> Result<u64> {
        let Some(tail) = self.options.tail.filter(|lines| *lines > 0) else {
            return Ok(0);
        };
        let mut body = self.request(false, None).await?;
        let mut decoder = self.decoder();
        let (mut lines, mut done) = (0, false);
        loop {
            while let Some(entry) = self.checked(decoder.next())? {
                lines += u64::from(entry.begins_line && self.wants(&entry));
            }
            if done {
                return Ok(u64::saturating_sub(lines, tail));
            }
            match in_time(body.next(), false).await? {
                Some(bytes) => decoder.push(self.checked(bytes)?),
                None => {
                    decoder.finish();
                    done = true;
                }
            }
        }
    }

    /// Asks for the log, or for what comes from the time `after` on, as the engine wrote it.
    async fn request(&self, follow: bool, after: Option<&Bytes>) -> Result<Body> {
        let options = &self.options;
        let mut call = self
            .engine
            .client
            .get(format!("/containers/{}/logs", self.id))
            // With a terminal everything is stdout.
            .query("stdout", options.stdout || self.tty)
            .query("stderr", options.stderr)
            .query("timestamps", true)
            .query("follow", follow);
        let since = after.and_then(|stamp| exact_seconds(stamp));
        if let Some(since) = since.or(options.since.map(seconds)) {
            call = call.query("since", since);
        }
        if let Some(until) = options.until {
            call = call.query("until", seconds(until));
        }
        if options.tail == Some(0) && after.is_none() {
            call = call.query("tail", 0);
        }
        Ok(Box::pin(self.checked(call.stream().await)?))
    }

    fn checked<T>(&self, result: Result<T, Failure>) -> Result<T> {
        result.map_err(|failure| error::container(self.operation, &self.id, failure))
    }

    fn wants(&self, entry: &Entry) -> bool {
        let options = &self.options;
        let stream = match entry.stream {
            OutputStream::Stdout => options.stdout,
            OutputStream::Stderr => options.stderr,
        };
        // The engine's `until` includes its moment.
        stream
            && options.since.is_none_or(|since| entry.time >= since)
            && options.until.is_none_or(|until| entry.time < until)
    }

    /// Waits for the log of a container that was not started yet; `None` if it goes before that.
    async fn started(&self) -> Result<Option<Body>> {
        loop {
            match self.engine.find(self.operation, &self.id).await? {
                None => return Ok(None),
                Some(inspect) if liveness::status(&self.engine, &inspect) != ContainerStatus::Created => {
                    return self.request(true, None).await.map(Some);
                }
                Some(_) => tokio::time::sleep(START_POLL).await,
            }
        }
    }

    /// Makes sure that the log has ended because the container has: an engine that is shut down ends its replies in the
    /// same way. Tells whether the container is gone.
    async fn ended(&self) -> Result<bool> {
        let checked = tokio::time::timeout(END_LIMIT, async {
            loop {
                match self.engine.find(self.operation, &self.id).await? {
                    Some(inspect) if liveness::status(&self.engine, &inspect).is_alive() => {
                        tokio::time::sleep(END_POLL).await;
                    }
                    found => return Ok(found.is_none()),
                }
            }
        });
        let still_runs = |_| {
            Err(DriverError::network(
                "the engine ended the log while the container runs",
            ))
        };
        checked.await.unwrap_or_else(still_runs)
    }
}

/// A log that is not followed must not stall.
async fn in_time<T>(next: impl Future<Output = T>, follow: bool) -> Result<T> {
    if follow {
        return Ok(next.await);
    }
    let stalled = |_| {
        DriverError::network(format!(
            "the engine sent nothing of the log for {} s",
            STALL.as_secs()
        ))
    };
    tokio::time::timeout(STALL, next).await.map_err(stalled)
}

/// Seconds and nanoseconds, as the engine reads times.
fn seconds(ms: u64) -> String {
    format!("{}.{:09}", ms / 1000, ms % 1000 * 1_000_000)
}

/// The same for a time that the engine wrote, to the nanosecond.
fn exact_seconds(stamp: &[u8]) -> Option<String> {
    let stamp = std::str::from_utf8(stamp).ok()?;
    let seconds = crate::time::parse_ms(stamp)? / 1000;
    let fraction = stamp.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits: String = fraction.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("{seconds}.{digits:0<9}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stream: OutputStream, text: &'static str, begins_line: bool) -> Entry {
        Entry {
            stream,
            stamp: Bytes::new(),
            time: 0,
            data: Bytes::from_static(text.as_bytes()),
            begins_line,
        }
    }

    #[test]
    fn a_line_is_left_out_with_all_its_parts() {
        let mut tail = Tail {
            skip: 1,
            ..Tail::default()
        };
        let out = |text, begins| entry(OutputStream::Stdout, text, begins);
        let log = [
            out("a", true),
            entry(OutputStream::Stderr, "b\n", true),
            out("a2\n", false),
            out("c\n", true),
        ];
        let taken: Vec<_> = log
            .iter()
            .filter(|entry| tail.takes(entry))
            .map(|entry| entry.data.as_ref())
            .collect();
        assert_eq!(taken, [b"b\n".as_slice(), b"c\n"]);
    }

    #[test]
    fn times_are_sent_as_seconds_and_nanoseconds() {
        assert_eq!(seconds(1_795_465_539_361), "1795465539.361000000");
        assert_eq!(seconds(7), "0.007000000");
        let exact = |stamp: &str| exact_seconds(stamp.as_bytes());
        assert_eq!(
            exact("2026-11-23T20:25:39.36192Z").as_deref(),
            Some("1795465539.361920000")
        );
        assert_eq!(
            exact("2026-11-23T22:25:39+02:00").as_deref(),
            Some("1795465539.000000000")
        );
        assert_eq!(exact(""), None);
    }

    #[test]
    fn a_reading_is_taken_up_after_the_last_entry() {
        let mut last = Last::default();
        let at = |stamp: &'static str| Entry {
            stamp: Bytes::from_static(stamp.as_bytes()),
            ..entry(OutputStream::Stdout, "x", true)
        };
        assert!(["1", "2", "2"].iter().all(|stamp| last.is_new(&at(stamp))));
        last.again = last.count;
        let new: Vec<bool> = ["2", "2", "2", "3"]
            .iter()
            .map(|stamp| last.is_new(&at(stamp)))
            .collect();
        assert_eq!(new, [false, false, true, true]);
    }
}
