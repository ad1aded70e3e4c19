//! The connection to a guard: what the engine frames as stdout are the guard's reports. What else arrives is text, of
//! the engine in place of the guard.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::mux::{Channel, Demux};

/// The most of an error text that is kept.
const MAX_TEXT: usize = 4096;
/// How much is read at once.
const PIECE: usize = 32 * 1024;

/// A connection whose reading side has the content of stdout alone.
#[derive(Debug)]
pub(crate) struct Demuxed<C> {
    connection: C,
    demux: Demux,
    /// Read and not yet taken apart.
    framed: Bytes,
    /// Content of stdout that was not read yet.
    content: Bytes,
    text: Vec<u8>,
}

impl<C: AsyncRead + Unpin> Demuxed<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self {
            connection,
            demux: Demux::default(),
            framed: Bytes::new(),
            content: Bytes::new(),
            text: Vec::new(),
        }
    }

    /// What was written that is no report, with `said` of stdout, and with what follows where that is not all.
    pub(crate) async fn into_text(mut self, said: &[u8], ended: bool) -> String {
        self.keep(said);
        let mut rest = Vec::new();
        while !ended && self.text.len() < MAX_TEXT {
            rest.clear();
            match self.read_buf(&mut rest).await {
                Ok(0) => break,
                Ok(_) => self.keep(&rest),
                // Plain text was kept; the frames may go on after it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&self.text).into_owned()
    }

    fn keep(&mut self, text: &[u8]) {
        let room = MAX_TEXT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..room.min(text.len())]);
    }

    /// Takes apart what was read, until there is content.
    fn take_apart(&mut self) -> io::Result<()> {
        let whole = self.framed.clone();
        while self.content.is_empty() {
            match self.demux.next(&mut self.framed) {
                Ok(Some(piece)) if piece.channel == Channel::Stdout => self.content = piece.data,
                Ok(Some(piece)) => self.keep(&piece.data),
                Ok(None) => return Ok(()),
                // An engine that could not start the guard may write plain text.
                Err(failure) => {
                    self.keep(&whole);
                    self.framed.clear();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, failure.message()));
                }
            }
        }
        Ok(())
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Demuxed<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.take_apart()?;
            if !this.content.is_empty() {
                let count = this.content.len().min(buffer.remaining());
                buffer.put_slice(&this.content[..count]);
                this.content.advance(count);
                return Poll::Ready(Ok(()));
            }
            let mut bytes = vec![0; PIECE];
            let mut piece = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.connection).poll_read(context, &mut piece))?;
            let count = piece.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            bytes.truncate(count);
            this.framed = bytes.into();
        }
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Demuxed<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    /// An engine that sends these pieces, then ends.
    #[derive(Debug)]
    struct Pieces(Vec<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buffer.put_slice(&self.0.pop().unwrap_or_default());
            Poll::Ready(Ok(()))
        }
    }

    fn engine(wire: &[u8], cut: usize) -> Demuxed<Pieces> {
        Demuxed::new(Pieces(wire.chunks(cut).rev().map(<[u8]>::to_vec).collect()))
    }

    fn frame(channel: u8, data: &str) -> Vec<u8> {
        let mut frame = vec![channel, 0, 0, 0];
        frame.extend((data.len() as u32).to_be_bytes());
        frame.extend(data.as_bytes());
        frame
    }

    #[rstest]
    #[tokio::test]
    async fn stdout_is_read_and_the_rest_kept(#[values(1, 3, 11, 1000)] cut: usize) {
        let wire = [frame(1, "one "), frame(2, "oh no"), frame(1, ""), frame(1, "two")].concat();
        let mut connection = engine(&wire, cut);
        let mut read = String::new();
        connection.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "one two");
        assert_eq!(connection.into_text(b"", true).await, "oh no");
    }

    #[tokio::test]
    async fn plain_text_is_an_error_and_kept() {
        let mut connection = engine(b"OCI runtime exec failed: no such file", 20);
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let text = connection.into_text(b"", false).await;
        assert_eq!(text, "OCI runtime exec failed: no such file");
    }

    #[tokio::test]
    async fn framed_text_is_read_to_its_end() {
        let mut connection = engine(&[frame(1, "not a "), frame(1, "report")].concat(), 14);
        let mut said = vec![0; 6];
        connection.read_exact(&mut said).await.unwrap();
        assert_eq!(connection.into_text(&said, false).await, "not a report");
    }
}
