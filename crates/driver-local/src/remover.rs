//! Removing what the users of rootless containers own: the driver has no right to it outside of their namespace.

use std::io;
use std::path::Path;

use driver_local_shim::{RemoveTask, Report, Task, UserNamespace};

use crate::shim::Shim;

/// Removes with the ids of a user namespace.
#[derive(Clone, Debug)]
pub(crate) struct Remover {
    pub(crate) shim: Shim,
    pub(crate) user: UserNamespace,
}

impl Remover {
    /// Removes what has this name in a directory. Blocks.
    ///
    /// # Errors
    ///
    /// What the shim was refused, or that it did not answer.
    pub(crate) fn remove(&self, directory: &Path, name: &str) -> io::Result<()> {
        let task = RemoveTask {
            user: self.user.clone(),
            directory: directory.to_string_lossy().into_owned(),
            name: name.to_owned(),
        };
        match self.shim.attempt(&Task::Remove(Box::new(task)), None)? {
            Report::Ready => Ok(()),
            Report::Failed { message, .. } => Err(io::Error::other(message)),
            Report::Started { .. } | Report::Holding { .. } => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
