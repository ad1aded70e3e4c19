//! What an archive of a stranger may have.

use serde::{Deserialize, Serialize};

/// What an archive may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes without compression.
    pub bytes: u64,
    /// Components of a path.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 32 << 30,
            depth: 256,
        }
    }
}
