//! Frames on the wire: kind, length, payload.

use std::fmt;

/// The largest payload of a frame; a longer one is broken.
pub const MAX_PAYLOAD: usize = 32 * 1024;

const HEADER: usize = 5;

/// A message that travels as one frame.
pub trait Frame: Sized {
    /// Appends the frame to `wire`.
    fn encode(&self, wire: &mut Vec<u8>);

    /// The message of a kind and a payload; `None` where they make no sense.
    fn parse(kind: u8, payload: &[u8]) -> Option<Self>;
}

/// The bytes are not what the other side would have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The kind of the offending frame.
    pub kind: u8,
    /// The length that it claims.
    pub length: usize,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken frame of kind {} and length {}", self.kind, self.length)
    }
}

impl std::error::Error for Broken {}

/// Takes bytes in pieces of any size and gives whole messages. Holds at most one incomplete frame beyond what was
/// pushed since the last call of [`decode`](Self::decode) that gave `None`.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    read: usize,
}

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    ///
    /// [`Broken`]; it stays broken, because what follows cannot be told apart any more.
    pub fn decode<T: Frame>(&mut self) -> Result<Option<T>, Broken> {
        let Some((header, rest)) = self.bytes[self.read..].split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_PAYLOAD {
            return Err(Broken { kind, length });
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let message = T::parse(kind, payload).ok_or(Broken { kind, length })?;
        self.read += HEADER + length;
        Ok(Some(message))
    }

    /// The bytes that were not made into a message yet.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }
}

pub(crate) fn put(wire: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    debug_assert!(length <= MAX_PAYLOAD, "a frame of {length} bytes");
    wire.push(kind);
    wire.extend_from_slice(&(length as u32).to_be_bytes());
    for part in parts {
        wire.extend_from_slice(part);
    }
}
