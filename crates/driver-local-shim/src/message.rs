//! Messages on a stream: a length, then a `postcard` body.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest body: an environment of 1 MiB and some more.
pub const MAX_MESSAGE: usize = 8 << 20;

/// The bytes of a message.
///
/// # Panics
///
/// Never: the messages of this crate can all be encoded.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let body = postcard::to_allocvec(message).expect("messages of this crate can be encoded");
    let mut wire = (body.len() as u32).to_be_bytes().to_vec();
    wire.extend(body);
    wire
}

/// Reads one message.
///
/// # Errors
///
/// Those of the stream; `UnexpectedEof` where it ends before the message does; `InvalidData` for a body that is too
/// long or does not decode.
pub fn decode<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message that is too long",
        ));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    postcard::from_bytes(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
