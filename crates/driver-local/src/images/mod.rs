//! Images: importing, finding, listing, removing; snapshots of containers; the image `host`.

mod config;
#[cfg(feature = "pull")]
mod flight;
mod host;
mod layers;
mod load;
mod oci;
#[cfg(feature = "pull")]
mod pull;
mod snapshot;
mod source;
mod store;

use std::io::Read;

use driver_types::{Image, ImportOptions, Result};

use config::ImageConfig;
pub(crate) use store::{HOST, ImageStore};

impl ImageStore {
    /// Makes an image of the tar of a root file system; gzip and zstd are undone. A repeat of the same content shares the
    /// layer. The image that had the reference stays, by its id.
    ///
    /// # Errors
    ///
    /// A configuration error for options that break rules; a file system error for an archive that is broken, not one, or
    /// has more than [`Limits`](driver_local_shim::Limits) allow; an error of the driver that `tar` failed with as it is. Nothing is left.
    pub(crate) fn import(&self, options: &ImportOptions, tar: impl Read) -> Result<Image> {
        driver_validation::validate_import_options(options)?;
        let reference = store::new_reference(&options.reference)?;
        let layer = layers::make(self, tar, &self.limits)?;
        let config = ImageConfig::new(&config::defaults_of(options), &[&layer.digest]);
        self.add(&[reference], &config.json()?, &[layer])
    }
}

#[cfg(test)]
mod tests;
