//! The format of a log file: frames, each a header and its data. A torn last frame is ignored.

/// The bytes of a header.
pub const HEADER: usize = 16;

/// The longest data of a frame.
pub const MAX_DATA: usize = 1 << 20;

/// The header of a frame: `stream` (1 stdout, 2 stderr), three zero bytes, the length of the data (u32, little endian), the
/// time of arrival in epoch milliseconds (u64, little endian).
pub fn header(stream: u8, length: u32, at_ms: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = stream;
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..].copy_from_slice(&at_ms.to_le_bytes());
    header
}

/// Reads a header: stream, length, time. `None` for bytes that are no header.
pub fn parse(header: &[u8; HEADER]) -> Option<(u8, usize, u64)> {
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    let time = u64::from_le_bytes(header[8..].try_into().ok()?);
    let valid = matches!(header[0], 1 | 2) && header[1..4] == [0; 3] && length <= MAX_DATA;
    valid.then_some((header[0], length, time))
}
