//! What the fuzz targets call. Behind the feature `fuzzing`, and no part of the driver's interface.

use bytes::Bytes;

use crate::log_decoder::LogDecoder;

/// What came out of a log reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Time, content and stream (`true`: stderr), content joined as far as one entry's pieces go.
    pub entries: Vec<(u64, Vec<u8>, bool)>,
    /// Whether the reply broke.
    pub failed: bool,
}

/// Decodes a log reply that arrives in pieces of `cut` bytes.
#[must_use]
pub fn decode_log(tty: bool, mend: bool, wire: &[u8], cut: usize) -> Decoded {
    let mut decoder = LogDecoder::new(tty).mend_line_ends(mend);
    for piece in wire.chunks(cut.max(1)) {
        decoder.push(Bytes::copy_from_slice(piece));
    }
    decoder.finish();
    let mut entries = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(entry)) => {
                let is_stderr = entry.stream == driver_types::OutputStream::Stderr;
                entries.push((entry.time, entry.data.to_vec(), is_stderr));
            }
            Ok(None) => {
                return Decoded {
                    entries,
                    failed: false,
                };
            }
            Err(_) => {
                return Decoded {
                    entries,
                    failed: true,
                };
            }
        }
    }
}
