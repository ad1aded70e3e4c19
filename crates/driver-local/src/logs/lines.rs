//! Which parts of frames a caller gets, where that is a matter of lines: those of the tail, and times at their beginnings.

use std::time::{Duration, UNIX_EPOCH};

use driver_types::{LogFrame, LogOptions, OutputStream};

use super::files::Frame;

/// Follows the lines of both streams.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Lines that are still to be left out.
    pub(super) skip: u64,
    /// Of stdout, of stderr: whether the next byte goes on with a line.
    mid_line: [bool; 2],
    /// Whether that line is left out.
    skipping: [bool; 2],
    timestamps: bool,
}

/// The index of what is kept for each stream.
pub(super) fn index(stream: OutputStream) -> usize {
    usize::from(stream == OutputStream::Stderr)
}

/// Whether something of this stream and time was asked for.
pub(super) fn passes(stream: OutputStream, time: u64, options: &LogOptions) -> bool {
    let wanted = match stream {
        OutputStream::Stdout => options.stdout,
        OutputStream::Stderr => options.stderr,
    };
    wanted
        && options.since.is_none_or(|since| time >= since)
        && options.until.is_none_or(|until| time < until)
}

impl Lines {
    /// From the beginning of lines on.
    pub(super) fn new(options: &LogOptions) -> Self {
        Self {
            timestamps: options.timestamps,
            ..Self::default()
        }
    }

    /// The next byte of this stream goes on with a line that is left out.
    pub(super) fn inside(&mut self, stream: OutputStream) {
        self.mid_line[index(stream)] = true;
        self.skipping[index(stream)] = true;
    }

    /// What a caller gets of a frame, if anything.
    pub(super) fn take(&mut self, frame: Frame) -> Option<LogFrame> {
        let of = index(frame.stream);
        let data = if self.timestamps || self.skip > 0 || self.skipping[of] {
            self.lines_of(of, &frame)
        } else {
            self.mid_line[of] = !frame.data.ends_with(b"\n");
            frame.data
        };
        (!data.is_empty()).then(|| LogFrame {
            stream: frame.stream,
            time: frame.time,
            data: data.into(),
        })
    }

    fn lines_of(&mut self, of: usize, frame: &Frame) -> bytes::Bytes {
        let stamp = if self.timestamps {
            stamp(frame.time)
        } else {
            String::new()
        };
        let mut data = Vec::with_capacity(frame.data.len() + stamp.len());
        for line in frame.data.split_inclusive(|byte| *byte == b'\n') {
            let begins = !std::mem::replace(&mut self.mid_line[of], !line.ends_with(b"\n"));
            if begins {
                self.skipping[of] = self.skip > 0;
                self.skip = self.skip.saturating_sub(1);
            }
            if !self.skipping[of] {
                if begins {
                    data.extend_from_slice(stamp.as_bytes());
                }
                data.extend_from_slice(line);
            }
        }
        data.into()
    }
}

/// A time and a space, as Docker writes it.
fn stamp(time: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time.min(MAX_TIME));
    format!("{} ", humantime::format_rfc3339_nanos(time))
}

/// The last millisecond of the year 9999: what a text of RFC 3339 can say. A file that was damaged may have any.
const MAX_TIME: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(stream: OutputStream, text: &'static str) -> Frame {
        Frame {
            stream,
            time: 1_795_465_539_361,
            data: Bytes::from_static(text.as_bytes()),
        }
    }

    fn texts(lines: &mut Lines, frames: &[(OutputStream, &'static str)]) -> Vec<String> {
        let taken = frames
            .iter()
            .filter_map(|(stream, text)| lines.take(frame(*stream, text)));
        taken.map(|frame| frame.data.to_text()).collect()
    }

    const LOG: [(OutputStream, &str); 4] = [
        (OutputStream::Stdout, "a\nb"),
        (OutputStream::Stderr, "e\n"),
        (OutputStream::Stdout, "b\nc\n"),
        (OutputStream::Stderr, "f"),
    ];

    #[test]
    fn a_line_is_left_out_with_all_its_parts() {
        let mut lines = Lines {
            skip: 2,
            ..Lines::default()
        };
        assert_eq!(texts(&mut lines, &LOG), ["e\n", "c\n", "f"]);
        let mut lines = Lines::default();
        lines.inside(OutputStream::Stderr);
        assert_eq!(texts(&mut lines, &LOG), ["a\nb", "b\nc\n", "f"]);
    }

    #[test]
    fn times_stand_where_lines_begin() {
        let mut lines = Lines::new(&LogOptions {
            timestamps: true,
            ..LogOptions::default()
        });
        let text = texts(&mut lines, &LOG)
            .concat()
            .replace("2026-11-23T20:25:39.361000000Z ", "@");
        assert_eq!(text, "@a\n@b@e\nb\n@c\n@f");
    }

    #[test]
    fn any_time_can_be_written() {
        assert!(stamp(u64::MAX).starts_with("9999-12-31T23:59:59.999"));
    }
}
