//! How a driver is opened.

use std::path::PathBuf;

use driver_types::{Deadlines, labels};

use crate::Host;

/// Options of a [`DockerDriver`](crate::DockerDriver).
///
/// ```
/// use driver_docker::{DockerOptions, Host};
///
/// let options = DockerOptions::default()
///     .host(Host::parse("unix:///run/docker.sock")?)
///     .owner("agents")
///     .cache(false);
/// # Ok::<(), driver_docker::DriverError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerOptions {
    pub(crate) host: Option<Host>,
    pub(crate) owner: String,
    pub(crate) deadlines: Deadlines,
    pub(crate) cache: bool,
    pub(crate) start_concurrency: Option<usize>,
    pub(crate) log_limit: LogLimit,
    pub(crate) disk_quota: bool,
    credentials: StoredCredentials,
}

/// Where the credentials of a pull come from that brings none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StoredCredentials {
    OfProcess,
    In(PathBuf),
    Nowhere,
}

/// How much of a container's output the engine keeps. Older output is dropped file by file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimit {
    /// MiB a file, at least 1.
    pub file_mib: u32,
    /// Files, at least 1.
    pub files: u32,
}

impl Default for DockerOptions {
    fn default() -> Self {
        Self {
            host: None,
            owner: labels::DEFAULT_OWNER.to_owned(),
            deadlines: Deadlines::default(),
            cache: true,
            start_concurrency: None,
            log_limit: LogLimit {
                file_mib: 16,
                files: 4,
            },
            disk_quota: false,
            credentials: StoredCredentials::OfProcess,
        }
    }
}

impl DockerOptions {
    /// Sets where the engine is; without it: [`Host::discover`].
    #[must_use]
    pub fn host(self, host: Host) -> Self {
        Self {
            host: Some(host),
            ..self
        }
    }

    /// Sets the owner: only this owner's objects are listed, changed or removed. Default: `default`. 1 to 128 of
    /// `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
    #[must_use]
    pub fn owner(self, owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            ..self
        }
    }

    /// Sets the deadlines of the operations; without it: those of the operation table. The deadline of
    /// `stop_container` is counted after its grace time.
    #[must_use]
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    /// Sets whether `get_container` and `list_containers` may answer from what the engine's events keep fresh.
    /// Default: true. Without it every read asks the engine.
    #[must_use]
    pub fn cache(self, cache: bool) -> Self {
        Self { cache, ..self }
    }

    /// Sets how many containers are started at the same time, at least 1; default: twice the engine's cores. More
    /// only makes each start slower.
    #[must_use]
    pub fn start_concurrency(self, starts: usize) -> Self {
        Self {
            start_concurrency: Some(starts.max(1)),
            ..self
        }
    }

    /// Sets how much output of a container is kept; default: 4 files of 16 MiB.
    #[must_use]
    pub fn log_limit(self, limit: LogLimit) -> Self {
        let log_limit = LogLimit {
            file_mib: limit.file_mib.max(1),
            files: limit.files.max(1),
        };
        Self { log_limit, ..self }
    }

    /// Says that the engine's storage is overlay2 on xfs mounted with `pquota`, so that it can limit a writable layer:
    /// the engine does not tell. Where it is not so, `create_container` fails rather than drop the limit.
    #[must_use]
    pub fn disk_quota(self, disk_quota: bool) -> Self {
        Self { disk_quota, ..self }
    }

    /// Sets the directory whose `config.json` has the credentials, as `docker login` stores them, of pulls that bring
    /// none; `None`: such pulls go without. Default: `DOCKER_CONFIG`, or `~/.docker`.
    #[must_use]
    pub fn stored_credentials(self, directory: Option<PathBuf>) -> Self {
        let credentials = directory.map_or(StoredCredentials::Nowhere, StoredCredentials::In);
        Self { credentials, ..self }
    }

    /// The directory with `config.json` for pulls without credentials.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        match &self.credentials {
            StoredCredentials::OfProcess => crate::host::config_dir(),
            StoredCredentials::In(directory) => Some(directory.clone()),
            StoredCredentials::Nowhere => None,
        }
    }
}
