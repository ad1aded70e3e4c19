//! The store on disk, and what is done to images as a whole. Several processes may share it.
//!
//! ```text
//! STATE/images/             0700: set-user-id programs of images are no programs of the host's users
//!   lock                    flock: exclusive for whoever adds or removes, shared for whoever must not lose an image meanwhile
//!   layers/DIGEST/root/     the content of a layer, never changed; beside it layer.json
//!   configs/DIGEST.json     an image: the bytes of its OCI config, whose digest is its id
//!   references.json         the names of images; replaced as a whole
//!   host-VERSION/           what the image `host` has of its own
//!   tmp/                    what is being made or removed; what dead processes left is swept
//! ```
//!
//! Layers come first, then the config, then the reference; removal goes the other way. So an image that is found is whole,
//! whenever a process was killed, and readers need no lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driver_local_shim::Limits;
use driver_types::{DriverError, Image, Result, Violation};
use driver_validation::ImageReference;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::config::ImageConfig;
use super::layers::{self, Made, sync_directory};
use super::source::digest_of;
use crate::file_worker::FileWorker;
use crate::layout::Layout;
use crate::spec::ImageSpec;

/// The image that is made of the host's own programs.
pub(crate) const HOST: &str = "host";

/// The images of a state directory. A clone is another handle on the same.
#[derive(Clone, Debug)]
pub(crate) struct ImageStore {
    dir: PathBuf,
    pub(super) limits: Limits,
    /// Who unpacks and removes layers, where their owners are not this process.
    pub(super) worker: Option<Arc<FileWorker>>,
    #[cfg(feature = "pull")]
    pub(super) pulls: Arc<super::flight::Pulls>,
}

/// The lock of the store. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Locked(#[allow(dead_code, reason = "its lock lasts as long as it is open")] OwnedFd);

/// A name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    id: String,
    /// As it was given, with its tag.
    written: String,
}

/// By Docker's full form.
type Names = BTreeMap<String, Name>;

pub(super) fn broken_store(error: io::Error) -> DriverError {
    DriverError::file_system(format!("the image store cannot be used: {error}")).with_source(error)
}

impl ImageStore {
    /// The store of a state directory; made where there is none.
    pub(crate) fn open(layout: &Layout) -> io::Result<Self> {
        let store = Self {
            dir: layout.images(),
            limits: Limits::default(),
            worker: layout.file_worker().cloned(),
            #[cfg(feature = "pull")]
            pulls: Arc::default(),
        };
        for directory in ["", "layers", "configs", "tmp"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(store.dir.join(directory))?;
        }
        // Somebody else may have made it.
        fs::set_permissions(&store.dir, fs::Permissions::from_mode(0o700))?;
        store.sweep()?;
        Ok(store)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn worker(&self) -> Option<&FileWorker> {
        self.worker.as_deref()
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// A path in `tmp` that nobody has.
    pub(super) fn temporary(&self) -> io::Result<PathBuf> {
        let mut random = [0; 12];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(self.tmp().join(name))
    }

    pub(super) fn lock(&self, operation: FlockOperation) -> io::Result<Locked> {
        let mut options = File::options();
        let file = options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.dir.join("lock"))?;
        rustix::fs::flock(&file, operation)?;
        Ok(Locked(file.into()))
    }

    /// Keeps all images from being removed until it is dropped: held from [`resolve`](Self::resolve) until the container
    /// is there that `remove` will find. Whoever holds it must not import, remove, or make a snapshot: they would wait for it.
    pub(crate) fn hold(&self) -> Result<Locked> {
        self.lock(FlockOperation::LockShared).map_err(broken_store)
    }

    /// What a container is made of, by reference or id; `None`: there is no such image.
    pub(crate) fn resolve(&self, reference: &str) -> Result<Option<ImageSpec>> {
        if reference == HOST {
            return super::host::resolve(self).map(Some).map_err(broken_store);
        }
        let Some((id, config)) = self.find(reference)? else {
            return Ok(None);
        };
        if let Some(digest) = config
            .digests()?
            .into_iter()
            .find(|digest| !self.has_layer(digest))
        {
            return Err(layers::missing(digest));
        }
        config.spec(&id, |digest| self.layer_root(digest)).map(Some)
    }

    /// An image by reference or id. The image `host` is none that could be listed or removed.
    pub(crate) fn get(&self, reference: &str) -> Result<Option<Image>> {
        match self.find(reference)? {
            Some((id, config)) => self.describe(&id, &config, &self.names()?).map(Some),
            None => Ok(None),
        }
    }

    /// All images, also those that lost their last reference to another.
    pub(crate) fn list(&self) -> Result<Vec<Image>> {
        let names = self.names()?;
        let mut images = Vec::new();
        for id in self.ids()? {
            // One that was removed meanwhile is none.
            if let Some(config) = self.config(&id)? {
                images.push(self.describe(&id, &config, &names)?);
            }
        }
        Ok(images)
    }

    /// Removes a reference, and the image with its last one; an id removes the image with all its references. Returns the
    /// references that are gone.
    ///
    /// # Errors
    ///
    /// `IMAGE_NOT_FOUND`; a configuration error where `user` finds a container, of any owner, that is made of the image of
    /// this id, and names it. `user` is asked under the lock of the store, so that it sees every container that was made while
    /// somebody [held](Self::hold) the image; it must not hold or change the store itself.
    pub(crate) fn remove(
        &self,
        reference: &str,
        user: impl Fn(&str) -> Result<Option<String>>,
    ) -> Result<Vec<String>> {
        let locked = self.lock(FlockOperation::LockExclusive).map_err(broken_store)?;
        let Some((id, _)) = self.find(reference)? else {
            return Err(DriverError::image_not_found(reference));
        };
        let mut names = self.names()?;
        let gone: Vec<String> = match names.remove(&normalized(reference)) {
            Some(name) => vec![name.written],
            None => {
                let own = names.values().filter(|name| name.id == id);
                let own = own.map(|name| name.written.clone()).collect();
                names.retain(|_, name| name.id != id);
                own
            }
        };
        let last = names.values().all(|name| name.id != id);
        // One name of several may go at any time: the image stays under the others, as with Docker.
        if last && let Some(user) = user(&id)? {
            let message = format!("image {reference} is in use by container {user}");
            let hint = "remove that container first";
            return Err(DriverError::violations(vec![
                Violation::new("/reference", message).with_hint(hint),
            ]));
        }
        let discarded = self
            .drop_names(&locked, &names, last.then_some(&id))
            .map_err(broken_store)?;
        drop(locked);
        drop(discarded);
        Ok(gone)
    }

    fn drop_names(
        &self,
        locked: &Locked,
        names: &Names,
        image: Option<&String>,
    ) -> io::Result<Vec<layers::Discarded>> {
        self.write_names(locked, names)?;
        let Some(id) = image else {
            return Ok(Vec::new());
        };
        fs::remove_file(self.config_path(id))?;
        let mut needed = Vec::new();
        for id in self.ids().map_err(io::Error::other)? {
            let config = self.config(&id).map_err(io::Error::other)?;
            let digests = config.map(|config| {
                config
                    .digests()
                    .map(|all| all.into_iter().map(str::to_owned).collect())
            });
            needed.extend(
                digests
                    .transpose()
                    .map_err(io::Error::other)?
                    .unwrap_or_else(Vec::new),
            );
        }
        Ok(self.take_out_layers(locked, &needed))
    }

    /// Adds an image under references, which it takes from the images that had them. Its layers are those made, and others
    /// that are here already.
    pub(super) fn add(&self, references: &[ImageReference], config: &[u8], made: &[Made]) -> Result<Image> {
        let parsed = ImageConfig::parse(config)?;
        let id = format!("sha256:{}", digest_of(config));
        let locked = self.lock(FlockOperation::LockExclusive).map_err(broken_store)?;
        for layer in made {
            self.place_layer(&locked, layer).map_err(broken_store)?;
        }
        if let Some(digest) = parsed
            .digests()?
            .into_iter()
            .find(|digest| !self.has_layer(digest))
        {
            return Err(layers::missing(digest));
        }
        if self.config(&id)?.is_none() {
            self.write_file(&locked, &self.config_path(&id), config)
                .map_err(broken_store)?;
        }
        let mut names = self.names()?;
        for reference in references {
            let name = Name {
                id: id.clone(),
                written: with_tag(reference),
            };
            names.insert(reference.normalized(), name);
        }
        self.write_names(&locked, &names).map_err(broken_store)?;
        self.describe(&id, &parsed, &names)
    }

    fn describe(&self, id: &str, config: &ImageConfig, names: &Names) -> Result<Image> {
        let mut size_bytes = 0;
        for digest in config.digests()? {
            // Removed meanwhile.
            size_bytes += self.layer_size(digest).unwrap_or_default();
        }
        let own = names.values().filter(|name| name.id == id);
        let written = || fs::metadata(self.config_path(id)).ok()?.modified().ok();
        Ok(Image {
            id: id.to_owned(),
            references: own.map(|name| name.written.clone()).collect(),
            size_bytes,
            created_at: config
                .created_at()
                .or_else(|| written().and_then(super::config::millis))
                .unwrap_or_default(),
            labels: config.labels(),
        })
    }

    /// The id and config of an image.
    fn find(&self, reference: &str) -> Result<Option<(String, ImageConfig)>> {
        let id = match self.names()?.get(&normalized(reference)) {
            Some(name) => Some(name.id.clone()),
            None => self.id_of(reference)?,
        };
        let Some(id) = id else { return Ok(None) };
        Ok(self.config(&id)?.map(|config| (id, config)))
    }

    /// The id that begins with these digits, at least 12 of them, with or without `sha256:`.
    fn id_of(&self, text: &str) -> Result<Option<String>> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if !(12..=64).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut ids = self.ids()?;
        ids.retain(|id| id["sha256:".len()..].starts_with(digits));
        Ok(if ids.len() == 1 { ids.pop() } else { None })
    }

    fn ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.dir.join("configs")).map_err(broken_store)? {
            let name = entry.map_err(broken_store)?.file_name();
            ids.extend(
                name.to_str()
                    .and_then(|name| Some(format!("sha256:{}", name.strip_suffix(".json")?))),
            );
        }
        ids.sort();
        Ok(ids)
    }

    fn config_path(&self, id: &str) -> PathBuf {
        let digest = id.strip_prefix("sha256:").unwrap_or(id);
        self.dir.join("configs").join(format!("{digest}.json"))
    }

    pub(super) fn config(&self, id: &str) -> Result<Option<ImageConfig>> {
        match fs::read(self.config_path(id)) {
            Ok(config) => ImageConfig::parse(&config).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken_store(error)),
        }
    }

    fn names(&self) -> Result<Names> {
        match fs::read(self.dir.join("references.json")) {
            Ok(names) => serde_json::from_slice(&names).map_err(|error| broken_store(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Names::new()),
            Err(error) => Err(broken_store(error)),
        }
    }

    fn write_names(&self, locked: &Locked, names: &Names) -> io::Result<()> {
        let names = serde_json::to_vec(names)?;
        self.write_file(locked, &self.dir.join("references.json"), &names)
    }

    /// Writes a file that is whole or not there at all, and on the disk when this returns.
    fn write_file(&self, _locked: &Locked, path: &Path, content: &[u8]) -> io::Result<()> {
        let draft = self.temporary()?;
        let mut file = File::create_new(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        sync_directory(path.parent().unwrap_or(Path::new("/")))
    }
}

/// The reference for a new image.
///
/// # Errors
///
/// A configuration error for what is no `name[:tag]`, and for `host`.
pub(super) fn new_reference(reference: &str) -> Result<ImageReference> {
    let parsed = driver_validation::validate_new_image_reference(reference)?;
    if parsed.name() == HOST {
        let message = format!("{reference} is reserved: it stands for the host's own programs");
        return Err(DriverError::violations(vec![
            Violation::new("/reference", message).with_hint("use another name"),
        ]));
    }
    Ok(parsed)
}

/// Docker's full form; text that is no reference stays as it is, and finds nothing.
fn normalized(reference: &str) -> String {
    let parsed = reference.parse::<ImageReference>();
    parsed.map_or_else(|_| reference.to_owned(), |parsed| parsed.normalized())
}

/// The short form with its tag, as engines list it.
fn with_tag(reference: &ImageReference) -> String {
    match (reference.tag(), reference.digest()) {
        (None, None) => format!("{reference}:latest"),
        _ => reference.to_string(),
    }
}
