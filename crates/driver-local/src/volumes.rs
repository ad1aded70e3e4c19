//! Named volumes: `volumes/OWNER/NAME/{volume.json,data}`. A directory is renamed into place, so that a volume exists wholly or
//! not at all, and of two racing creates one makes it.
//!
//! Whoever needs volumes to stay, or makes one, holds `volumes/.lock` shared; whoever removes them has it alone. So a container
//! that is being made is seen by the removal of its volume, or sees that it is gone, in whichever processes they are.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use driver_types::{DriverError, Result, Volume, VolumeConfig};
use rustix::fs::{CWD, FlockOperation, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use crate::DRIVER_NAME;
use crate::containers::{unreadable, unwritable};
use crate::layout::Layout;
use crate::lock::FileLock;
use crate::time::now_ms;
use crate::trash;

/// The volumes of an owner.
#[derive(Clone, Debug)]
pub(crate) struct Volumes {
    layout: Layout,
    owner: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    config: VolumeConfig,
    volume: Volume,
}

impl Volumes {
    pub(crate) fn new(layout: &Layout, owner: &str) -> Self {
        Self {
            layout: layout.clone(),
            owner: owner.to_owned(),
        }
    }

    /// The directory with a volume's content. Any user of a container may write to it, as to a new volume of Docker's over a
    /// directory that the image opens; only root of the host reaches it.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.directory(&self.owner, name).join("data")
    }

    /// As long as this is held, no volume is removed: what was seen to be there stays, until a container is there that the
    /// removal sees. Waits for removals; whoever holds it must not begin one.
    ///
    /// # Errors
    ///
    /// Those of the state directory.
    pub(crate) fn hold(&self) -> Result<FileLock> {
        self.lock(FlockOperation::LockShared)
            .map_err(|error| unwritable(&error))
    }

    fn lock(&self, operation: FlockOperation) -> io::Result<FileLock> {
        FileLock::wait(&self.layout.volumes().join(".lock"), operation)
    }

    /// The volume of this name and spec, and whether this call made it.
    ///
    /// # Errors
    ///
    /// `VOLUME_CREATION_FAILED`, permanent, where one of this name has another spec.
    pub(crate) fn create(&self, config: &VolumeConfig) -> Result<(Volume, bool)> {
        let id = crate::id::random().map_err(|error| DriverError::internal(error.to_string()))?;
        let held = self.hold()?;
        loop {
            match self.read(&self.owner, &config.name)? {
                Some(found) if found.config == *config => return Ok((found.volume, false)),
                Some(_) => {
                    let message = "it exists with another spec; remove it first, or use another name";
                    return Err(DriverError::volume_creation(&config.name, message).permanent());
                }
                None => {}
            }
            let stored = Stored {
                config: config.clone(),
                volume: Volume {
                    id: id.clone(),
                    name: config.name.clone(),
                    driver: DRIVER_NAME.to_owned(),
                    labels: config.labels.clone(),
                    created_at: now_ms(),
                    size_mib: config.size_mib,
                    mountpoint: Some(self.data(&config.name).to_string_lossy().into_owned()),
                },
            };
            if self
                .make(&held, &id, &stored)
                .map_err(|error| unwritable(&error))?
            {
                return Ok((stored.volume, true));
            }
        }
    }

    /// Whether the name was free.
    fn make(&self, _held: &FileLock, id: &str, stored: &Stored) -> io::Result<bool> {
        let target = self.directory(&self.owner, &stored.config.name);
        fs::create_dir_all(self.layout.volumes().join(&self.owner))?;
        let fresh = target.with_file_name(format!(".new-{id}"));
        DirBuilder::new().mode(0o711).create(&fresh)?;
        let data = fresh.join("data");
        DirBuilder::new().mode(0o777).create(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777))?;
        let mut file = File::create(fresh.join("volume.json"))?;
        file.write_all(&serde_json::to_vec(stored)?)?;
        // One that is in its place after a power failure can be read.
        file.sync_all()?;
        match renameat_with(CWD, &fresh, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(error) => {
                trash::put(&self.layout, &fresh)?;
                match error {
                    rustix::io::Errno::EXIST => Ok(false),
                    other => Err(other.into()),
                }
            }
        }
    }

    /// Removes a volume by id or name with its content, and tells its name. `user` is asked for a container that uses it; no
    /// other comes to use it meanwhile. Waits for those who [hold](Self::hold) volumes.
    ///
    /// # Errors
    ///
    /// `VOLUME_NOT_FOUND`; `VOLUME_REMOVE_FAILED` where there is a user; those of `user`.
    pub(crate) fn remove(
        &self,
        id: &str,
        user: impl FnOnce(&str) -> Result<Option<String>>,
    ) -> Result<String> {
        let locked = self.lock_alone()?;
        let volume = self.get(id)?.ok_or_else(|| DriverError::volume_not_found(id))?;
        self.discard(&locked, &self.owner, &volume.name, user)?;
        Ok(volume.name)
    }

    /// Likewise a volume of any owner by its name.
    ///
    /// # Errors
    ///
    /// Those of [`remove`](Self::remove).
    pub(crate) fn remove_of(
        &self,
        owner: &str,
        name: &str,
        user: impl FnOnce(&str) -> Result<Option<String>>,
    ) -> Result<()> {
        self.discard(&self.lock_alone()?, owner, name, user)
    }

    fn lock_alone(&self) -> Result<FileLock> {
        self.lock(FlockOperation::LockExclusive)
            .map_err(|error| unwritable(&error))
    }

    fn discard(
        &self,
        _locked: &FileLock,
        owner: &str,
        name: &str,
        user: impl FnOnce(&str) -> Result<Option<String>>,
    ) -> Result<()> {
        if let Some(user) = user(name)? {
            let message = format!("container {user} uses it; remove the container first");
            return Err(DriverError::volume_remove(name, message));
        }
        match trash::put(&self.layout, &self.directory(owner, name)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(DriverError::volume_not_found(name)),
            Err(error) => Err(unwritable(&error)),
        }
    }

    /// Removes what makers that died have left. Nobody makes one meanwhile.
    ///
    /// # Errors
    ///
    /// Those of the state directory.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let _locked = self.lock(FlockOperation::LockExclusive)?;
        for owner in fs::read_dir(self.layout.volumes())? {
            let owner = owner?;
            if !owner.file_type()?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(owner.path())? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(b".new-") {
                    trash::put(&self.layout, &entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// A volume by id or name.
    pub(crate) fn get(&self, id: &str) -> Result<Option<Volume>> {
        let found = self.list()?.into_iter();
        Ok(found
            .into_iter()
            .find(|volume| volume.id == id || volume.name == id))
    }

    /// The owner's volumes, by name.
    pub(crate) fn list(&self) -> Result<Vec<Volume>> {
        let mut volumes = self.of(&self.owner)?;
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// The volumes of every owner, with their owners.
    pub(crate) fn of_all_owners(&self) -> Result<Vec<(String, Volume)>> {
        let mut found = Vec::new();
        for owner in names_in(&self.layout.volumes())? {
            let volumes = self.of(&owner)?;
            found.extend(volumes.into_iter().map(|volume| (owner.clone(), volume)));
        }
        Ok(found)
    }

    fn of(&self, owner: &str) -> Result<Vec<Volume>> {
        let mut found = Vec::new();
        for name in names_in(&self.layout.volumes().join(owner))? {
            found.extend(self.read(owner, &name)?.map(|stored| stored.volume));
        }
        Ok(found)
    }

    fn read(&self, owner: &str, name: &str) -> Result<Option<Stored>> {
        match fs::read(self.directory(owner, name).join("volume.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|error| {
                unreadable(&io::Error::new(ErrorKind::InvalidData, error))
            })?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Names and owners passed validation: they have no `/` and do not begin with a dot.
    fn directory(&self, owner: &str, name: &str) -> PathBuf {
        self.layout.volumes().join(owner).join(name)
    }
}

/// The names in a directory of the state directory, but those of what is being made; none where it is missing.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(&error)),
    }
}

#[cfg(test)]
mod tests;
