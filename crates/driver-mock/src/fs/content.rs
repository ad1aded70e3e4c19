//! The content of a file: bytes, and runs of one byte that cost nothing.

use bytes::Bytes;

#[derive(Clone, Debug)]
enum Piece {
    Bytes(Bytes),
    Repeat(u8, u64),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Repeat(_, len) => *len,
        }
    }
}

/// The content of a regular file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pieces: Vec<Piece>,
    len: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn append(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.len += bytes.len() as u64;
        self.pieces.push(Piece::Bytes(bytes));
    }

    /// Appends `len` times the same byte.
    pub(crate) fn append_repeat(&mut self, byte: u8, len: u64) {
        self.len += len;
        match self.pieces.last_mut() {
            Some(Piece::Repeat(last, count)) if *last == byte => *count += len,
            _ => self.pieces.push(Piece::Repeat(byte, len)),
        }
    }

    /// Appends another content.
    pub(crate) fn join(&mut self, more: Self) {
        self.len += more.len;
        self.pieces.extend(more.pieces);
    }

    /// The first bytes, at most `limit` of them.
    pub(crate) fn head(&self, limit: u64) -> Vec<u8> {
        let mut head = Vec::new();
        for piece in &self.pieces {
            let room = limit - head.len() as u64;
            match piece {
                Piece::Bytes(bytes) => head.extend_from_slice(&bytes[..bytes.len().min(room as usize)]),
                Piece::Repeat(byte, len) => head.resize(head.len() + (*len).min(room) as usize, *byte),
            }
            if head.len() as u64 >= limit {
                break;
            }
        }
        head
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.head(self.len)
    }

    pub(crate) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.head(prefix.len() as u64) == prefix
    }

    /// Every byte in order, in slices.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => visit(bytes),
                Piece::Repeat(byte, _) => {
                    let block = [*byte; 4096];
                    let mut left = piece.len();
                    while left > 0 {
                        let size = left.min(block.len() as u64);
                        visit(&block[..size as usize]);
                        left -= size;
                    }
                }
            }
        }
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        let mut content = Self::default();
        content.append(bytes);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_runs_are_one_content() {
        let mut content = Content::from("ab");
        content.append_repeat(b'z', 2);
        content.append_repeat(b'z', 1);
        content.append("c");
        assert_eq!(content.to_vec(), b"abzzzc");
        assert_eq!(content.head(3), b"abz");
        assert!(content.starts_with(b"abz") && !content.starts_with(b"abc"));
        let mut seen = Vec::new();
        content.for_each(|bytes| seen.extend_from_slice(bytes));
        assert_eq!(seen, b"abzzzc");
    }
}
