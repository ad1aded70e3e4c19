//! Replies of the engine that are one JSON document a line.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// The longest line that makes sense.
const MAX_LINE: usize = 1 << 20;

/// The lines of a reply.
pub(crate) struct Lines {
    body: BoxStream<'static, Result<Bytes, Failure>>,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(body: BoxStream<'static, Result<Bytes, Failure>>) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            ended: false,
        }
    }

    /// The next line; `None` at the end of the reply.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, Failure>> {
        loop {
            if let Some(line) = self.take_line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let parsed = serde_json::from_slice(&line);
                return Some(parsed.map_err(|error| Failure::Malformed(error.to_string())));
            }
            if self.ended {
                return None;
            }
            if self.buffer.len() > MAX_LINE {
                let message = format!("a line has more than {MAX_LINE} bytes");
                return Some(Err(Failure::Malformed(message)));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(failure)) => return Some(Err(failure)),
                None => self.ended = true,
            }
        }
    }

    /// A whole line, or what is left at the end.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self
            .buffer
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|end| end + 1);
        let end = end.or_else(|| (self.ended && !self.buffer.is_empty()).then_some(self.buffer.len()))?;
        Some(self.buffer.drain(..end).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lines(pieces: &[&'static str]) -> Lines {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
            .collect();
        Lines::new(futures_util::stream::iter(pieces).boxed())
    }

    #[tokio::test]
    async fn lines_are_read_whatever_the_pieces() {
        let mut lines = lines(&["{\"a\"", ":1}\r\n\n{\"a\":2}\n{\"a\":", "3}"]);
        let mut read = Vec::new();
        while let Some(line) = lines.next::<Value>().await {
            read.push(line);
        }
        assert_eq!(read, [Ok(json!({"a":1})), Ok(json!({"a":2})), Ok(json!({"a":3}))]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let piece: &'static str = "x".repeat(MAX_LINE + 1).leak();
        assert!(matches!(
            lines(&[piece, "y"]).next::<Value>().await,
            Some(Err(Failure::Malformed(_)))
        ));
    }
}
