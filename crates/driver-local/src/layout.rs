//! Where things are in a state directory. The picture stands in `docs/local-driver-design.md`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file_worker::FileWorker;
use crate::lock::FileLock;
use crate::mountpoints;

/// The paths of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    /// Works on what other ids than the driver's own have there.
    file_worker: Option<Arc<FileWorker>>,
}

/// The paths of one container.
#[derive(Clone, Debug)]
pub(crate) struct ContainerDir {
    path: PathBuf,
}

impl Layout {
    /// The version of what is written below, in the file `version`.
    pub(crate) const VERSION: &str = "1\n";

    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            file_worker: None,
        }
    }

    /// The same, in which there are files of the users of containers.
    pub(crate) fn with_file_worker(self, worker: FileWorker) -> Self {
        let file_worker = Some(Arc::new(worker));
        Self { file_worker, ..self }
    }

    /// Who can read, give away and remove what the driver itself may not.
    pub(crate) fn file_worker(&self) -> Option<&Arc<FileWorker>> {
        self.file_worker.as_ref()
    }

    /// Makes the directories that are missing, and checks the version. Root's can be passed through by the users of its
    /// containers; those of a user who is not root are all his own.
    ///
    /// # Errors
    ///
    /// Those of the file system; `Unsupported` for a directory that another version wrote.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let mode = if rustix::process::geteuid().is_root() {
            0o711
        } else {
            0o700
        };
        let private = |path: &Path| DirBuilder::new().recursive(true).mode(mode).create(path);
        private(&self.root)?;
        for directory in [
            self.containers(),
            self.images(),
            self.volumes(),
            self.networks(),
            self.templates(),
            self.trash(),
        ] {
            private(&directory)?;
        }
        mountpoints::make(&self.mountpoints(), &self.top())?;
        let version = self.root.join("version");
        match fs::read_to_string(&version) {
            Ok(found) if found == Self::VERSION => Ok(()),
            Ok(found) => {
                let message = format!(
                    "{} was written by version {} of the state directory's format; this driver knows {}",
                    self.root.display(),
                    found.trim(),
                    Self::VERSION.trim()
                );
                Err(io::Error::new(io::ErrorKind::Unsupported, message))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Two drivers may do this at the same time: the content is the same.
                let fresh = self.root.join(format!(".version-{}", crate::id::random()?));
                fs::write(&fresh, Self::VERSION)?;
                fs::rename(fresh, version)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn networks(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// Empty file systems, from which loop images are copied.
    pub(crate) fn templates(&self) -> PathBuf {
        self.root.join("templates")
    }

    /// The lowest layer of every root.
    pub(crate) fn mountpoints(&self) -> PathBuf {
        self.root.join("mountpoints")
    }

    /// The topmost layer of every read-only root: an empty directory.
    pub(crate) fn top(&self) -> PathBuf {
        self.root.join("top")
    }

    /// What is being deleted.
    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// The directory of a container with this id, whether or not there is one. The id is one that this driver made, or
    /// passed [`is_id`](Self::is_id).
    pub(crate) fn container(&self, id: &str) -> ContainerDir {
        ContainerDir {
            path: self.containers().join(id),
        }
    }

    /// The directory in which a container is being made; renamed to [`container`](Self::container) when it is whole.
    pub(crate) fn unfinished(&self, id: &str) -> ContainerDir {
        ContainerDir {
            path: self.containers().join(format!(".new-{id}")),
        }
    }

    /// Whether a text can be the id of a container: 64 lower-case hexadecimal digits.
    pub(crate) fn is_id(text: &str) -> bool {
        text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl ContainerDir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn spec(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    pub(crate) fn shim_lock(&self) -> PathBuf {
        self.path.join("shim.lock")
    }

    /// Whether a shim lives for this container: it holds the lock.
    pub(crate) fn has_shim(&self) -> bool {
        FileLock::is_taken(&self.shim_lock())
    }

    /// Whether an init has told how the main process ended. Its shim takes the file away at the end of the run.
    pub(crate) fn has_exit(&self) -> bool {
        std::fs::metadata(self.path.join("exit")).is_ok_and(|exit| exit.len() > 0)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The writable layer.
    pub(crate) fn disk(&self) -> PathBuf {
        self.path.join("disk")
    }

    /// The file that the writable layer is in, where it is a loop image.
    pub(crate) fn disk_image(&self) -> PathBuf {
        self.path.join("disk.img")
    }

    /// `hosts`, `hostname` and `resolv.conf`.
    pub(crate) fn etc(&self) -> PathBuf {
        self.path.join("etc")
    }
}
