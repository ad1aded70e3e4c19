//! Where the bytes of an archive come from: perhaps compressed, counted, and with their digest.

use std::io::{self, BufRead, BufReader, Read};

use driver_types::{DriverError, Result};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use sha2::{Digest, Sha256};

use crate::tarball::{broken, failed};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Those that are known and not read.
const OTHERS: [(&[u8], &str); 2] = [(b"BZh", "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz")];

/// The bytes of an archive without its compression, which its first bytes tell.
pub(super) fn decompressed<'a>(source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    let mut start = Vec::new();
    // A source may give its bytes one by one.
    source.by_ref().take(6).read_to_end(&mut start).map_err(failed)?;
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        let message = format!("it is compressed with {name}; pack it with gzip, zstd, or not at all");
        return Err(broken(message));
    }
    let is = |magic| start.starts_with(magic);
    let (gzip, zstd) = (is(GZIP), is(ZSTD));
    let whole = io::Cursor::new(start).chain(source);
    Ok(match () {
        () if gzip => Box::new(MultiGzDecoder::new(whole)),
        () if zstd => Box::new(Zstd::new(whole)),
        () => Box::new(whole),
    })
}

/// All frames of a zstd stream. The library reads one.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame was begun and its end not yet reached.
    inside: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
            inside: false,
        }
    }

    /// Begins the next frame; `false`: there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut frame = self.source.by_ref().take(length.into());
                    io::copy(&mut frame, &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy::UptoBlocks;
        loop {
            if !self.inside && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            match self.decoder.read(buffer)? {
                0 if buffer.is_empty() => return Ok(0),
                0 => self.inside = false,
                count => return Ok(count),
            }
        }
    }
}

/// A reader that digests what passes, and fails when it is more than allowed.
pub(super) struct Digested<R> {
    source: R,
    digest: Sha256,
    left: u64,
    limit: u64,
}

impl<R: Read> Digested<R> {
    pub(super) fn new(source: R, limit: u64) -> Self {
        Self {
            source,
            digest: Sha256::new(),
            left: limit,
            limit,
        }
    }

    /// The digest of all that was read.
    pub(super) fn digest(self) -> String {
        hex(&self.digest.finalize())
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let message = format!("the archive is refused: it has more than {} bytes", self.limit);
            io::Error::other(DriverError::file_system(message))
        })?;
        Ok(count)
    }
}

/// The digest of bytes in memory.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
