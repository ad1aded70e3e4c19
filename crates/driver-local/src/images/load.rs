//! Images in an archive: what `docker save` writes, or an image layout of the OCI.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use driver_local_shim::rootfs::Root;
use driver_types::{DriverError, Image, Result};
use driver_validation::ImageReference;
use rustix::fs::{FileType, OFlags};
use serde::Deserialize;

use super::config::{ImageConfig, hex_digest};
use super::layers::Draft;
use super::oci::{Descriptor, Document, MAX_DOCUMENT, Manifest, checked, for_this_machine};
use super::source::{Digested, decompressed};
use super::store::{ImageStore, broken_store, new_reference};
use crate::tarball::{Archive, Rights, broken, told, unpack_layer};

/// An entry of `manifest.json`, as `docker save` writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: PathBuf,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

/// The annotations of an index that name an image: containerd's is whole, the standard's may be a tag only.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

impl ImageStore {
    /// Takes the images of an archive that `docker save` wrote, or of an OCI image layout in a tar; gzip and zstd are
    /// undone. Their references come from the archive; an image without one is found by its id. All digests are checked.
    ///
    /// # Errors
    ///
    /// A file system error: the archive has no images, is broken, or one of its images is not made for this machine.
    pub(crate) fn load(&self, archive: impl Read) -> Result<Vec<Image>> {
        let draft = Draft::new(self).map_err(broken_store)?;
        let (_, root) = draft.root().map_err(broken_store)?;
        let mut archive = Archive::new(Digested::new(decompressed(archive)?, self.limits.bytes));
        // All of it is this process's: nobody else reads it.
        unpack_layer(&mut archive, &root, &self.limits, Rights::User).map_err(told)?;
        let files = Files(root);
        if let Some(manifest) = files.document("manifest.json")? {
            let saved: Vec<Saved> = serde_json::from_slice(&manifest).map_err(broken)?;
            return saved.iter().map(|image| self.load_saved(&files, image)).collect();
        }
        match files.document("index.json")? {
            Some(index) => self.load_index(&files, &index),
            None => Err(broken(
                "it has neither manifest.json nor index.json; the tar of a root file system is imported, not loaded",
            )),
        }
    }

    fn load_saved(&self, files: &Files, saved: &Saved) -> Result<Image> {
        let config = files.required(&saved.config)?;
        let tags = saved.repo_tags.iter().flatten();
        let references = tags.map(|tag| new_reference(tag)).collect::<Result<Vec<_>>>()?;
        self.load_image(files, &config, &saved.layers, &references)
    }

    /// Takes the image for this machine of each entry of an index. An entry may be an index of its own.
    fn load_index(&self, files: &Files, index: &[u8]) -> Result<Vec<Image>> {
        let entries = Document::parse(index)?.manifests.unwrap_or_default();
        if entries.is_empty() {
            return Err(broken("its index.json has no images"));
        }
        // Entries of one name are the same image for several machines.
        let mut groups: Vec<(Option<ImageReference>, Vec<Descriptor>)> = Vec::new();
        for entry in entries {
            let name = NAMES
                .iter()
                .find_map(|key| new_reference(entry.annotations.get(*key)?).ok());
            match groups.iter_mut().find(|(other, _)| *other == name) {
                Some((_, group)) => group.push(entry),
                None => groups.push((name, vec![entry])),
            }
        }
        let load = |(name, group): &(Option<ImageReference>, Vec<Descriptor>)| {
            let manifest = files.manifest(for_this_machine(group)?)?;
            let config = checked(&manifest.config, files.required(&blob(&manifest.config)?)?)?;
            let layers = manifest.layers.iter().map(blob).collect::<Result<Vec<_>>>()?;
            self.load_image(files, &config, &layers, name.as_slice())
        };
        groups.iter().map(load).collect()
    }

    fn load_image(
        &self,
        files: &Files,
        config: &[u8],
        layers: &[PathBuf],
        references: &[ImageReference],
    ) -> Result<Image> {
        let parsed = ImageConfig::parse(config)?;
        parsed.check(layers.len())?;
        let mut made = Vec::new();
        for (digest, path) in parsed.digests()?.into_iter().zip(layers) {
            if !self.has_layer(digest) {
                made.push(self.layer_with(digest, files.open(path)?)?);
            }
        }
        self.add(references, config, &made)
    }
}

/// The path of a blob in an image layout.
fn blob(descriptor: &Descriptor) -> Result<PathBuf> {
    Ok(Path::new("blobs/sha256").join(hex_digest(&descriptor.digest)?))
}

/// The files of an archive.
struct Files(Root);

impl Files {
    fn open(&self, path: &Path) -> Result<File> {
        let failed = |why: String| broken(format!("{}: {why}", path.display()));
        // It may be anything; opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = self
            .0
            .open_in(path, flags)
            .map_err(|error| failed(error.to_string()))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.to_string()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(failed("it is no file".to_owned())),
        }
    }

    fn required(&self, path: &Path) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut file = self.open(path)?.take(MAX_DOCUMENT + 1);
        file.read_to_end(&mut content).map_err(broken)?;
        if content.len() as u64 > MAX_DOCUMENT {
            let message = format!("{} has more than {MAX_DOCUMENT} bytes", path.display());
            return Err(DriverError::file_system(format!(
                "the archive is refused: {message}"
            )));
        }
        Ok(content)
    }

    /// A document at the top; `None`: there is none.
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.0.stat(Path::new(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => self.required(Path::new(name)).map(Some),
        }
    }

    /// The manifest behind a descriptor, through one index at most.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest> {
        let read = |descriptor: &Descriptor| -> Result<Document> {
            Document::parse(&checked(descriptor, self.required(&blob(descriptor)?)?)?)
        };
        let document = read(descriptor)?;
        match &document.manifests {
            Some(manifests) => read(for_this_machine(manifests)?)?.manifest(),
            None => document.manifest(),
        }
    }
}
