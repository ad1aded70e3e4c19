//! Named volumes: `volumes/OWNER/NAME/{volume.json,data}`. A directory is renamed into place, so that a volume exists wholly or
//! not at all, and of two racing creates one makes it.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use driver_types::{DriverError, Result, Volume, VolumeConfig};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use crate::DRIVER_NAME;
use crate::containers::{unreadable, unwritable};
use crate::layout::Layout;
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

    /// The volume of this name and spec, and whether this call made it.
    ///
    /// # Errors
    ///
    /// `VOLUME_CREATION_FAILED`, permanent, where one of this name has another spec.
    pub(crate) fn create(&self, config: &VolumeConfig) -> Result<(Volume, bool)> {
        let id = crate::id::random().map_err(|error| DriverError::internal(error.to_string()))?;
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
            if self.make(&id, &stored).map_err(|error| unwritable(&error))? {
                return Ok((stored.volume, true));
            }
        }
    }

    /// Whether the name was free.
    fn make(&self, id: &str, stored: &Stored) -> io::Result<bool> {
        let target = self.directory(&self.owner, &stored.config.name);
        fs::create_dir_all(self.layout.volumes().join(&self.owner))?;
        let fresh = target.with_file_name(format!(".new-{id}"));
        DirBuilder::new().mode(0o711).create(&fresh)?;
        let data = fresh.join("data");
        DirBuilder::new().mode(0o777).create(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777))?;
        fs::write(fresh.join("volume.json"), serde_json::to_vec(stored)?)?;
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

    /// Removes a volume by id or name with its content, and tells its name.
    ///
    /// # Errors
    ///
    /// `VOLUME_NOT_FOUND`; `VOLUME_REMOVE_FAILED` where `user` knows a container that uses it.
    pub(crate) fn remove(&self, id: &str, user: impl Fn(&str) -> Option<String>) -> Result<String> {
        let volume = self.get(id)?.ok_or_else(|| DriverError::volume_not_found(id))?;
        if let Some(user) = user(&volume.name) {
            let message = format!("container {user} uses it; remove the container first");
            return Err(DriverError::volume_remove(id, message));
        }
        self.remove_of(&self.owner, &volume.name)?;
        Ok(volume.name)
    }

    /// Removes a volume of any owner by its name.
    ///
    /// # Errors
    ///
    /// `VOLUME_NOT_FOUND`.
    pub(crate) fn remove_of(&self, owner: &str, name: &str) -> Result<()> {
        match trash::put(&self.layout, &self.directory(owner, name)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(DriverError::volume_not_found(name)),
            Err(error) => Err(unwritable(&error)),
        }
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
