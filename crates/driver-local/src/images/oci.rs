//! Manifests and indexes of the OCI image specification, and of Docker before it: which blobs an image is made of.

use std::collections::BTreeMap;
use std::io::Read;

use driver_types::{DriverError, Result};
use serde::Deserialize;

use super::config::{ImageConfig, architecture, hex_digest};
use super::layers::{self, Made};
use super::source::digest_of;
use super::store::ImageStore;

/// Manifests, indexes and configs are read into memory; registries refuse larger ones too.
pub(super) const MAX_DOCUMENT: u64 = 4 << 20;

/// Where a blob is, and what it must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[cfg(feature = "pull")]
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

/// A manifest, or an index of several: they differ in what they have.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

impl Document {
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|error| {
            DriverError::file_system(format!("the manifest of the image is broken: {error}"))
        })
    }

    /// As a manifest of one image.
    pub(super) fn manifest(self) -> Result<Manifest> {
        match self.config {
            Some(config) => Ok(Manifest {
                config,
                layers: self.layers,
            }),
            None => Err(DriverError::file_system(
                "the manifest of the image has no config; images of Docker before 1.10 must be pushed again",
            )),
        }
    }
}

/// The one for this machine among the images of an index: the first of its architecture, and of those one without variant
/// before others.
///
/// # Errors
///
/// There is none; the error tells for which there are some.
pub(super) fn for_this_machine(manifests: &[Descriptor]) -> Result<&Descriptor> {
    let mine = |descriptor: &&Descriptor| {
        descriptor
            .platform
            .as_ref()
            // An index of one image need not tell.
            .map_or(manifests.len() == 1, |platform| {
                platform.os == "linux" && platform.architecture == architecture()
            })
    };
    let has_variant = |descriptor: &&Descriptor| {
        let platform = descriptor.platform.as_ref();
        platform.is_some_and(|platform| platform.variant.is_some())
    };
    manifests
        .iter()
        .filter(mine)
        .min_by_key(has_variant)
        .ok_or_else(|| {
            let platforms = manifests
                .iter()
                .filter_map(|descriptor| descriptor.platform.as_ref());
            let known: Vec<_> = platforms
                .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                .collect();
            DriverError::file_system(format!(
                "the image is not made for linux/{}; it is for {}",
                architecture(),
                known.join(", ")
            ))
        })
}

/// A document after its digest was checked.
pub(super) fn checked(descriptor: &Descriptor, content: Vec<u8>) -> Result<Vec<u8>> {
    if content.len() as u64 != descriptor.size || digest_of(&content) != hex_digest(&descriptor.digest)? {
        return Err(wrong(&descriptor.digest));
    }
    Ok(content)
}

pub(super) fn wrong(digest: &str) -> DriverError {
    DriverError::file_system(format!(
        "the content is not that of {digest}: it was damaged or changed on its way"
    ))
}

impl ImageConfig {
    /// That it is for this machine and has this many layers.
    pub(super) fn check(&self, layers: usize) -> Result<()> {
        if self.os != "linux" || self.architecture != architecture() {
            return Err(DriverError::file_system(format!(
                "the image is for {}/{}, and this machine is linux/{}",
                self.os,
                self.architecture,
                architecture()
            )));
        }
        let digests = self.digests()?.len();
        if digests != layers {
            return Err(DriverError::file_system(format!(
                "the image has {layers} layers and its config tells of {digests}"
            )));
        }
        Ok(())
    }
}

impl ImageStore {
    /// Makes a layer that is known by the digest of its tar.
    pub(super) fn layer_with(&self, digest: &str, tar: impl Read) -> Result<Made> {
        let made = layers::make(self, tar, &self.limits)?;
        if made.digest != digest {
            return Err(wrong(&format!("sha256:{digest}")));
        }
        Ok(made)
    }
}
