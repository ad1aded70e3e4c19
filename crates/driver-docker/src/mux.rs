//! The engine's framing of stdout and stderr in one stream: eight bytes of header (channel, three zeros, length), then
//! the data.
//!
//! Whether a stream is framed follows from the container's config, never from its bytes: a container may print what
//! looks like a header. Data is passed on as it arrives, so that no length that a header claims can make this decoder
//! wait or hold anything back.

use bytes::{Buf, Bytes};

use crate::failure::Failure;

const HEADER: usize = 8;
/// The largest piece that is given out.
pub(crate) const MAX_PIECE: usize = 1 << 20;

/// Which stream a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Standard output, or an echo of standard input.
    Stdout,
    /// Standard error.
    Stderr,
    /// The engine itself, about an error of the stream.
    System,
}

/// A part of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) channel: Channel,
    pub(crate) data: Bytes,
    /// Whether it is the first of its frame.
    pub(crate) first: bool,
    /// Whether it is the last of its frame.
    pub(crate) last: bool,
}

/// Takes the stream in pieces of any size. Holds back nothing but an incomplete header.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    header: [u8; HEADER],
    filled: usize,
    /// The frame that is being read, and how much of it is to come.
    frame: Option<(Channel, usize, bool)>,
}

impl Demux {
    /// The next piece in `input`; `None` when all of it is taken.
    ///
    /// # Errors
    ///
    /// A header that no engine writes. What follows cannot be told apart any more.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Piece>, Failure> {
        loop {
            if let Some((channel, left, first)) = self.frame {
                if left > 0 && input.is_empty() {
                    return Ok(None);
                }
                let data = input.split_to(left.min(input.len()).min(MAX_PIECE));
                let left = left - data.len();
                self.frame = (left > 0).then_some((channel, left, false));
                let last = left == 0;
                return Ok(Some(Piece {
                    channel,
                    data,
                    first,
                    last,
                }));
            }
            let count = (HEADER - self.filled).min(input.len());
            input.copy_to_slice(&mut self.header[self.filled..self.filled + count]);
            self.filled += count;
            if self.filled < HEADER {
                return Ok(None);
            }
            self.filled = 0;
            self.frame = Some(parse(self.header)?);
        }
    }

    /// Whether the stream may end here: not within a header or a frame.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.filled == 0 && self.frame.is_none()
    }
}

fn parse(header: [u8; HEADER]) -> Result<(Channel, usize, bool), Failure> {
    let [channel, zeros @ .., a, b, c, d] = header;
    let channel = match channel {
        0 | 1 => Channel::Stdout,
        2 => Channel::Stderr,
        3 => Channel::System,
        _ => return Err(broken(header)),
    };
    if zeros != [0; 3] {
        return Err(broken(header));
    }
    Ok((channel, u32::from_be_bytes([a, b, c, d]) as usize, true))
}

fn broken(header: [u8; HEADER]) -> Failure {
    Failure::Malformed(format!("{header:02x?} is no header of a multiplexed stream"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn frame(channel: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![channel, 0, 0, 0];
        frame.extend((data.len() as u32).to_be_bytes());
        frame.extend(data);
        frame
    }

    fn decode(wire: &[u8], cut: usize) -> Result<Vec<Piece>, Failure> {
        let mut demux = Demux::default();
        let mut pieces = Vec::new();
        for bytes in wire.chunks(cut) {
            let mut input = Bytes::copy_from_slice(bytes);
            while let Some(piece) = demux.next(&mut input)? {
                pieces.push(piece);
            }
        }
        Ok(pieces)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            frames in proptest::collection::vec((1_u8..=2, proptest::collection::vec(any::<u8>(), 0..300)), 0..10),
            cut in 1_usize..400,
        ) {
            let wire: Vec<u8> = frames.iter().flat_map(|(channel, data)| frame(*channel, data)).collect();
            let mut joined: Vec<(u8, Vec<u8>)> = Vec::new();
            for piece in decode(&wire, cut).unwrap() {
                let channel = if piece.channel == Channel::Stdout { 1 } else { 2 };
                if piece.first {
                    joined.push((channel, Vec::new()));
                }
                joined.last_mut().unwrap().1.extend_from_slice(&piece.data);
            }
            prop_assert_eq!(joined, frames);
        }

        #[test]
        fn any_bytes_end_in_pieces_or_an_error(wire in proptest::collection::vec(any::<u8>(), 0..2000), cut in 1_usize..100) {
            if let Ok(pieces) = decode(&wire, cut) {
                let given: usize = pieces.iter().map(|piece| piece.data.len()).sum();
                prop_assert!(given <= wire.len());
            }
        }
    }

    #[test]
    fn a_huge_frame_is_passed_on_as_it_arrives() {
        let mut demux = Demux::default();
        let mut input = Bytes::from_static(&[1, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, b'h', b'i']);
        let piece = demux.next(&mut input).unwrap().unwrap();
        assert_eq!(
            (piece.data.as_ref(), piece.first, piece.last),
            (b"hi".as_slice(), true, false)
        );
        assert_eq!(demux.next(&mut input).unwrap(), None);
        assert!(!demux.is_between_frames());
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        for wire in [[4, 0, 0, 0, 0, 0, 0, 1], [1, 0, 9, 0, 0, 0, 0, 1], *b"OCI runt"] {
            assert!(decode(&wire, 3).is_err());
        }
    }
}
