//! Project quotas: the limit of all that is below a directory, kept by its file system (ext4, XFS).

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The project ids that are ours: far above those that people and other programs choose.
pub const PROJECTS: Range<u32> = 0x4000_0000..0x4010_0000;

/// A change of the project quota of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaTask {
    /// The directory.
    pub directory: String,
    /// What is to become of it.
    pub change: QuotaChange,
}

/// What is to become of a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuotaChange {
    /// The directory, which is empty, gets a project id that nothing else has, and hands it on to all that is made in it.
    Begin {
        /// Which of [`PROJECTS`] to try first, counted from its start; any number.
        first: u32,
        /// The limit.
        bytes: u64,
    },
    /// Another limit of a directory that has begun. Of one that has not, nothing changes.
    Set {
        /// The limit; 0: none, and with the last file of the project the file system forgets it.
        bytes: u64,
    },
    /// Begins in a directory, finds out whether a write above the limit is refused, and ends.
    Try {
        /// As in [`Begin`](Self::Begin).
        first: u32,
    },
}
