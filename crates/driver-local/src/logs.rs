//! Logs of a container: as text, as a stream, and as what an attached reader sees.

mod lines;
mod reader;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use driver_types::{BoxStream, ContainerStatus, LogFrame, LogOptions, OutputStream, Result};
use futures_util::{StreamExt, stream};

use crate::containers::unreadable;
use crate::core::{Core, blocking};
use lines::{Piece, Splitter};
use reader::Reader;

/// The logs as text.
pub(crate) async fn get_container_logs(core: &Arc<Core>, id: &str, options: &LogOptions) -> Result<String> {
    driver_validation::validate_log_options(options)?;
    let container = core.containers.find(id)?;
    let (directory, options) = (container.dir.log(), *options);
    blocking(move || {
        let skip = lines_before_tail(Reader::at_start(&directory), &options)?;
        let mut reading = Reading::new(Reader::at_start(&directory), options, skip);
        let mut text = Vec::new();
        loop {
            let frames = reading.next()?;
            if frames.is_empty() {
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            frames
                .iter()
                .for_each(|frame| text.extend_from_slice(&frame.data));
        }
    })
    .await
}

/// The logs as frames.
pub(crate) async fn stream_logs(
    core: &Arc<Core>,
    id: &str,
    options: &LogOptions,
) -> Result<BoxStream<LogFrame>> {
    driver_validation::validate_stream_log_options(options)?;
    let container = core.containers.find(id)?;
    let (directory, options) = (container.dir.log(), *options);
    let reading = blocking(move || {
        let skip = lines_before_tail(Reader::at_start(&directory), &options)?;
        Ok(Reading::new(Reader::at_start(&directory), options, skip))
    })
    .await?;
    Ok(stream_of(core, id, reading, options.follow))
}

/// What is written from now on, to the end of the run.
pub(crate) async fn follow_from_end(core: &Arc<Core>, id: &str) -> Result<BoxStream<LogFrame>> {
    let directory = core.containers.find(id)?.dir.log();
    let reading = blocking(move || {
        let reader = Reader::at_end(&directory).map_err(|error| unreadable(&error))?;
        Ok(Reading::new(reader, LogOptions::follow(), 0))
    })
    .await?;
    Ok(stream_of(core, id, reading, true))
}

/// How many lines that pass come before the last ones that are wanted.
fn lines_before_tail(reader: Reader, options: &LogOptions) -> Result<u64> {
    let Some(tail) = options.tail else {
        return Ok(0);
    };
    let mut reading = Reading::new(reader, *options, 0);
    let mut lines = 0_u64;
    loop {
        let pieces = reading.pieces()?;
        if pieces.is_empty() {
            return Ok(lines.saturating_sub(tail));
        }
        lines += pieces.iter().filter(|piece| piece.begins_line).count() as u64;
    }
}

fn stream_of(core: &Arc<Core>, id: &str, reading: Reading, follow: bool) -> BoxStream<LogFrame> {
    let state = Some((Arc::clone(core), id.to_owned(), reading));
    let batches = stream::unfold(state, move |state| async move {
        let (core, id, reading) = state?;
        match next_batch(&core, &id, reading, follow).await {
            Ok(Some((frames, reading))) => {
                let frames: Vec<Result<LogFrame>> = frames.into_iter().map(Ok).collect();
                Some((stream::iter(frames), Some((core, id, reading))))
            }
            Ok(None) => None,
            Err(error) => Some((stream::iter(vec![Err(error)]), None)),
        }
    });
    Box::pin(batches.flatten())
}

/// The next frames; `None` at the end.
async fn next_batch(
    core: &Arc<Core>,
    id: &str,
    mut reading: Reading,
    follow: bool,
) -> Result<Option<(Vec<LogFrame>, Reading)>> {
    if follow {
        core.containers.watch_log(id);
    }
    loop {
        // Both before the reading: what is written meanwhile wakes, and a run that had ended wrote nothing more.
        let changed = core.containers.watch(id);
        let ended = !follow || has_ended(core, id)?;
        let (frames, after) = blocking(move || Ok((reading.next()?, reading))).await?;
        if !frames.is_empty() {
            return Ok(Some((frames, after)));
        }
        reading = after;
        match changed {
            Some(mut changed) if !ended => {
                let _ = changed.changed().await;
            }
            _ => return Ok(None),
        }
    }
}

/// Whether nothing more will be written: the last run has ended, or the container is gone.
fn has_ended(core: &Core, id: &str) -> Result<bool> {
    let found = core.containers.get(id)?;
    Ok(found.is_none_or(|container| {
        !matches!(
            container.status(),
            ContainerStatus::Created | ContainerStatus::Running | ContainerStatus::Paused
        )
    }))
}

/// One reading of a log with its options.
struct Reading {
    reader: Reader,
    splitter: Splitter,
    options: LogOptions,
    /// Lines that are still to be left out.
    skip: u64,
    /// Whether the current line of stdout, of stderr, is left out.
    skipping: [bool; 2],
}

impl Reading {
    fn new(reader: Reader, options: LogOptions, skip: u64) -> Self {
        Self {
            reader,
            splitter: Splitter::default(),
            options,
            skip,
            skipping: [false; 2],
        }
    }

    /// The next pieces that pass the options but for the tail; none where there is nothing more now.
    fn pieces(&mut self) -> Result<Vec<Piece>> {
        loop {
            let frames = self.reader.read().map_err(|error| unreadable(&error))?;
            if frames.is_empty() {
                return Ok(Vec::new());
            }
            let splitter = &mut self.splitter;
            let options = &self.options;
            let pieces: Vec<Piece> = frames
                .into_iter()
                .flat_map(|frame| splitter.split(frame))
                .filter(|piece| passes(piece, options))
                .collect();
            if !pieces.is_empty() {
                return Ok(pieces);
            }
        }
    }

    /// The next frames; none where there is nothing more now.
    fn next(&mut self) -> Result<Vec<LogFrame>> {
        loop {
            let pieces = self.pieces()?;
            if pieces.is_empty() {
                return Ok(Vec::new());
            }
            let frames: Vec<LogFrame> = pieces.into_iter().filter_map(|piece| self.take(piece)).collect();
            if !frames.is_empty() {
                return Ok(frames);
            }
        }
    }

    fn take(&mut self, piece: Piece) -> Option<LogFrame> {
        let skipping = &mut self.skipping[usize::from(piece.stream == OutputStream::Stderr)];
        if piece.begins_line {
            *skipping = self.skip > 0;
            self.skip = self.skip.saturating_sub(1);
        }
        if *skipping {
            return None;
        }
        let data = if self.options.timestamps && piece.begins_line {
            let time = UNIX_EPOCH + Duration::from_millis(piece.time);
            let mut line = format!("{} ", humantime::format_rfc3339_nanos(time)).into_bytes();
            line.extend_from_slice(&piece.data);
            line.into()
        } else {
            piece.data
        };
        Some(LogFrame {
            stream: piece.stream,
            time: piece.time,
            data: data.into(),
        })
    }
}

fn passes(piece: &Piece, options: &LogOptions) -> bool {
    let wanted = match piece.stream {
        OutputStream::Stdout => options.stdout,
        OutputStream::Stderr => options.stderr,
    };
    wanted
        && options.since.is_none_or(|since| piece.time >= since)
        && options.until.is_none_or(|until| piece.time < until)
}
