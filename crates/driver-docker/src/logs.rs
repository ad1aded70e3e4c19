//! Logs of a container: as text, and as a stream.

mod source;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use driver_types::{BoxStream, ContainerStatus, LogFrame, LogOptions, Operation, OutputStream, Result};
use driver_validation::{validate_log_options, validate_stream_log_options};
use futures_util::StreamExt;

use crate::engine::Engine;
use crate::log_decoder::{Entry, LogDecoder};
use crate::{DRIVER_NAME, liveness};

use source::{Body, Source, in_time};

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
