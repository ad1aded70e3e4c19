//! The engine as the source of one container's log: what is asked for, and whether its end is the container's end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use driver_types::{ContainerStatus, DriverError, LogOptions, Operation, OutputStream, Result};
use futures_util::{Stream, StreamExt};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::log_decoder::{Entry, LogDecoder};
use crate::{error, liveness};

/// How often a container that was not started yet is looked at by a reader that follows it.
const START_POLL: Duration = Duration::from_millis(200);
/// How long after the end of its log a container may still seem to run.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long the engine may send nothing of a log that is not followed.
const STALL: Duration = Duration::from_secs(60);
const END_POLL: Duration = Duration::from_millis(20);

/// The bytes of a reply.
pub(super) type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

/// Whose log is read, and which part of it.
pub(super) struct Source {
    pub(super) engine: Arc<Engine>,
    pub(super) operation: Operation,
    pub(super) id: String,
    pub(super) tty: bool,
    pub(super) log_driver: String,
    pub(super) options: LogOptions,
}

impl Source {
    /// A decoder for its replies.
    pub(super) fn decoder(&self) -> LogDecoder {
        LogDecoder::new(self.tty).mend_line_ends(self.log_driver == "local")
    }

    /// Lines to skip. Counted in a reading of its own, so that nothing is held in memory. The engine's own tail is not
    /// one of lines: it counts the pieces of long ones, and counts before it filters.
    pub(super) async fn lines_before_tail(&self) -> Result<u64> {
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
    pub(super) async fn request(&self, follow: bool, after: Option<&Bytes>) -> Result<Body> {
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

    /// The contract's error for a failure.
    pub(super) fn checked<T>(&self, result: Result<T, Failure>) -> Result<T> {
        result.map_err(|failure| error::container(self.operation, &self.id, failure))
    }

    /// Whether an entry was asked for.
    pub(super) fn wants(&self, entry: &Entry) -> bool {
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
    pub(super) async fn started(&self) -> Result<Option<Body>> {
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
    pub(super) async fn ended(&self) -> Result<bool> {
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
pub(super) async fn in_time<T>(next: impl Future<Output = T>, follow: bool) -> Result<T> {
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
}
