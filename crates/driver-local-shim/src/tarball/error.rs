//! Why an archive could not be unpacked.

use std::fmt::{self, Display, Formatter};
use std::io;

/// The result of reading or unpacking.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. The texts are for users.
#[derive(Debug)]
pub enum Error {
    /// What the archive is read from failed.
    Source(io::Error),
    /// It is no archive, or has what it must not have.
    Archive(String),
    /// The file system refused something.
    File {
        /// As it is in the archive, without what could not be shown.
        path: String,
        /// Why.
        error: io::Error,
    },
}

impl Error {
    /// The number that the kernel gave, if it was the kernel.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Source(error) | Self::File { error, .. } => error.raw_os_error(),
            Self::Archive(_) => None,
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "the archive cannot be read: {error}"),
            Self::Archive(message) => f.write_str(message),
            Self::File { path, error } => write!(f, "cannot unpack {path}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) | Self::File { error, .. } => Some(error),
            Self::Archive(_) => None,
        }
    }
}

pub(super) fn broken(why: impl Display) -> Error {
    Error::Archive(format!("the archive cannot be read: {why}"))
}
