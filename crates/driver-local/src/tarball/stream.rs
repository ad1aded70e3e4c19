//! A caller's stream of bytes for code that reads.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use driver_types::ByteStream;
use futures_util::StreamExt;
use tokio::runtime::Handle;

/// Reads a stream from a blocking thread. An error of the stream is inside the one of the reader, where
/// [`failed`](super::failed) finds it.
pub(crate) struct StreamReader {
    stream: ByteStream,
    runtime: Handle,
    piece: Bytes,
}

impl StreamReader {
    /// Called on the runtime whose `spawn_blocking` will read.
    pub(crate) fn new(stream: ByteStream) -> Self {
        Self {
            stream,
            runtime: Handle::current(),
            piece: Bytes::new(),
        }
    }
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
