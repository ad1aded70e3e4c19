//! Logs of a container: as text, as a stream, and as what an attached reader sees.

mod files;
mod follow;
mod lines;
mod reader;
mod tail;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use driver_types::{BoxStream, LogFrame, LogOptions, Result};

use crate::containers::unreadable;
use crate::core::{Core, blocking};
use files::LogFile;
use follow::Follow;
use lines::{Lines, passes};
use reader::Reader;

/// The logs as text.
pub(crate) async fn get_container_logs(core: &Arc<Core>, id: &str, options: &LogOptions) -> Result<String> {
    driver_validation::validate_log_options(options)?;
    let directory = core.containers.find(id)?.dir.log();
    let options = *options;
    blocking(move || text(&directory, &options).map_err(|error| unreadable(&error))).await
}

/// The logs as frames.
pub(crate) async fn stream_logs(
    core: &Arc<Core>,
    id: &str,
    options: &LogOptions,
) -> Result<BoxStream<LogFrame>> {
    driver_validation::validate_stream_log_options(options)?;
    let container = core.containers.find(id)?;
    let options = *options;
    let follow = options.follow.then(|| Follow::new(core, &container, &options));
    let directory = container.dir.log();
    let reading = blocking(move || Reading::begin(&directory, &options).map_err(|error| unreadable(&error)));
    Ok(follow::stream(reading.await?, follow))
}

/// What is written from now on, to the end of the run.
pub(crate) async fn follow_from_end(core: &Arc<Core>, id: &str) -> Result<BoxStream<LogFrame>> {
    let container = core.containers.find(id)?;
    let options = LogOptions::follow();
    let follow = Follow::new(core, &container, &options);
    let directory = container.dir.log();
    let reading = blocking(move || {
        let reader = Reader::at_end(&directory).map_err(|error| unreadable(&error))?;
        Ok(Reading {
            reader,
            lines: Lines::new(&options),
            options,
        })
    });
    Ok(follow::stream(reading.await?, Some(follow)))
}

/// What is in a log now.
fn text(directory: &Path, options: &LogOptions) -> io::Result<String> {
    let mut reading = Reading::begin(directory, options)?;
    let mut text = Vec::new();
    loop {
        let frames = reading.next()?;
        if frames.is_empty() {
            break;
        }
        frames
            .iter()
            .for_each(|frame| text.extend_from_slice(&frame.data));
    }
    Ok(
        String::from_utf8(text)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// One reading of a log with its options.
#[derive(Debug)]
struct Reading {
    reader: Reader,
    lines: Lines,
    options: LogOptions,
}

impl Reading {
    fn begin(directory: &Path, options: &LogOptions) -> io::Result<Self> {
        let mut files: VecDeque<LogFile> = files::open_all(directory)?;
        let lines = match options.tail {
            None => Lines::new(options),
            Some(wanted) => tail::seek(&mut files, options, wanted)?,
        };
        Ok(Self {
            reader: Reader::over(directory, files, options.follow),
            lines,
            options: *options,
        })
    }

    /// The next frames; none where there is nothing more now.
    fn next(&mut self) -> io::Result<Vec<LogFrame>> {
        loop {
            let frames = self.reader.read()?;
            if frames.is_empty() {
                return Ok(Vec::new());
            }
            let options = &self.options;
            let passing = frames
                .into_iter()
                .filter(|frame| passes(frame.stream, frame.time, options));
            let taken: Vec<LogFrame> = passing.filter_map(|frame| self.lines.take(frame)).collect();
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }
}

#[cfg(test)]
mod tests;
