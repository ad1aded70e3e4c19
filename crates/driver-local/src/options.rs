//! How a driver is opened.

use std::path::PathBuf;

use driver_types::{Deadlines, labels};

/// How to open a [`LocalDriver`](crate::LocalDriver).
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Whose objects it sees: the rules of a session id.
    pub owner: String,
    /// Where containers, images, volumes and networks are kept. Several drivers, also of several processes, may share it.
    /// Absolute.
    pub state_dir: PathBuf,
    /// The deadlines of its operations.
    pub deadlines: Deadlines,
    /// What holds the disk limit of containers whose root is writable.
    pub disk: DiskBackend,
    /// The size in bytes at which a new log file of a container is begun.
    pub log_file_bytes: u64,
    /// How many log files of a container are kept; the oldest is deleted. At least 1.
    pub log_files: u32,
    /// How many processes wait, with namespaces made, to become containers (as root); as many wait for an exec. They
    /// are made after a start or an exec, once fewer than half of the processors start something, end with the driver, and make
    /// the next one faster. 0: none.
    pub prepared: usize,
    /// In how many containers at most, those of the latest execs, a process waits that has joined the container for the next
    /// exec with the same rights. It is none of the container's pids, but can be seen inside, as `driver-shim`; it ends
    /// with the container or the driver. 0: none.
    pub prepared_execs: usize,
}

/// What a writable layer is, so that the kernel refuses to write more than the disk limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskBackend {
    /// A project quota where the host has them; else a tmpfs for a limit that is small beside the container's memory, else a
    /// loop image where the host can have one.
    #[default]
    Auto,
    /// A project quota of the file system of the state directory (ext4 or XFS, mounted with `prjquota`). Where the host has
    /// none, disk limits are declared unsupported. For a container whose rights are beyond quotas (`seccomp: unconfined`, or
    /// the Linux capabilities `SYS_ADMIN` and `SYS_RESOURCE`) as without them in `Auto`.
    Quota,
    /// A tmpfs: fast, counts towards the container's memory, gone after a reboot.
    Tmpfs,
    /// A file with ext4: on the disk of the state directory, and still there after a reboot. Where the host cannot have it,
    /// disk limits are declared unsupported.
    Loop,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            owner: labels::DEFAULT_OWNER.to_owned(),
            state_dir: default_state_dir(),
            deadlines: Deadlines::default(),
            disk: DiskBackend::default(),
            log_file_bytes: 16 << 20,
            log_files: 4,
            prepared: 1,
            prepared_execs: 16,
        }
    }
}

impl LocalOptions {
    /// Sets the owner.
    #[must_use]
    pub fn owner(self, owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            ..self
        }
    }

    /// Sets the state directory.
    #[must_use]
    pub fn state_dir(self, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            ..self
        }
    }

    /// Sets how many processes wait to become containers.
    #[must_use]
    pub fn prepared(self, prepared: usize) -> Self {
        Self { prepared, ..self }
    }

    /// Sets in how many containers a process waits for the next exec.
    #[must_use]
    pub fn prepared_execs(self, prepared_execs: usize) -> Self {
        Self {
            prepared_execs,
            ..self
        }
    }

    /// Sets what holds disk limits.
    #[must_use]
    pub fn disk(self, disk: DiskBackend) -> Self {
        Self { disk, ..self }
    }

    /// Sets the deadlines.
    #[must_use]
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }
}

/// `DRIVER_LOCAL_STATE`, else `/var/lib/driver-local` for root, else `$XDG_DATA_HOME/driver-local` or
/// `~/.local/share/driver-local`.
fn default_state_dir() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(directory) = variable("DRIVER_LOCAL_STATE") {
        return directory;
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/driver-local");
    }
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    data.unwrap_or_else(std::env::temp_dir).join("driver-local")
}
