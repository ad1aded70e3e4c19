//! Frames of a log as pieces of at most one line.

use bytes::Bytes;
use driver_types::OutputStream;

use super::reader::Frame;

/// A line, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) stream: OutputStream,
    /// When it arrived, in epoch milliseconds.
    pub(super) time: u64,
    pub(super) data: Bytes,
    pub(super) begins_line: bool,
}

/// Remembers for each stream whether its last piece ended its line.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    mid_line: [bool; 2],
}

impl Splitter {
    pub(super) fn split(&mut self, frame: Frame) -> Vec<Piece> {
        let mut rest = frame.data;
        let mut pieces = Vec::new();
        let mid_line = &mut self.mid_line[usize::from(frame.stream == OutputStream::Stderr)];
        while !rest.is_empty() {
            let newline = rest.iter().position(|byte| *byte == b'\n');
            let data = rest.split_to(newline.map_or(rest.len(), |at| at + 1));
            pieces.push(Piece {
                stream: frame.stream,
                time: frame.time,
                data,
                begins_line: !*mid_line,
            });
            *mid_line = newline.is_none();
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_over_frames_and_streams_do_not_mix() {
        let mut splitter = Splitter::default();
        let mut split = |stream, text: &'static str| {
            let data = Bytes::from_static(text.as_bytes());
            let pieces = splitter.split(Frame {
                stream,
                time: 1,
                data,
            });
            pieces
                .iter()
                .map(|piece| {
                    (
                        String::from_utf8_lossy(&piece.data).into_owned(),
                        piece.begins_line,
                    )
                })
                .collect::<Vec<_>>()
        };
        let (out, err) = (OutputStream::Stdout, OutputStream::Stderr);
        assert_eq!(
            split(out, "a\nb"),
            [("a\n".to_owned(), true), ("b".to_owned(), true)]
        );
        assert_eq!(split(err, "e\n"), [("e\n".to_owned(), true)]);
        assert_eq!(split(out, "c\n"), [("c\n".to_owned(), false)]);
        assert_eq!(split(out, "d"), [("d".to_owned(), true)]);
    }
}
