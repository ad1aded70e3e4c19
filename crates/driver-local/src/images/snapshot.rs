//! A container's writable layer as an image: the upper directory of an overlay is packed as an OCI layer, and what is packed
//! is unpacked as any other. So a snapshot has the digest of a layer that could be pushed, and is held to the same limits.

use std::io;
use std::path::Path;
use std::thread;

use driver_local_shim::FileWork;
use driver_local_shim::rootfs::Root;
use driver_types::{DriverError, Image, Labels, Result};

use super::config::{ImageConfig, hex_digest};
use super::layers::{self, Made};
use super::store::{ImageStore, new_reference};
use crate::spec::ImageSpec;
use crate::tarball::{Rights, pack_layer};

impl ImageStore {
    /// Makes an image of a container: the layers of its image, and its writable layer, where it has one. The defaults are
    /// those of its image, with these labels on top. Nobody may write to `upper` meanwhile.
    ///
    /// # Errors
    ///
    /// A configuration error for a reference that no new image can have, and for a container of the image `host`; a file
    /// system error where the layer has more than the limits allow.
    pub(crate) fn snapshot(
        &self,
        base: &ImageSpec,
        upper: Option<&Path>,
        reference: &str,
        labels: &Labels,
    ) -> Result<Image> {
        let reference = new_reference(reference)?;
        let Some(id) = &base.id else {
            let message = "a container of the image `host` cannot be made an image: what it is made of is the host's; \
                           use an image that was imported or pulled";
            return Err(DriverError::configuration(message));
        };
        let mut spec = base.clone();
        spec.labels.extend(labels.clone());
        let made: Vec<Made> = match upper {
            Some(upper) => vec![self.layer_of(upper)?],
            None => Vec::new(),
        };
        let lower = self.config_of(id)?;
        let mut digests = lower.digests()?;
        digests.extend(made.iter().map(|layer| layer.digest.as_str()));
        let config = ImageConfig::new(&spec, &digests);
        self.add(&[reference], &config.json()?, &made)
    }

    fn config_of(&self, id: &str) -> Result<ImageConfig> {
        hex_digest(id)?;
        self.config(id)?.ok_or_else(|| DriverError::image_not_found(id))
    }

    fn layer_of(&self, upper: &Path) -> Result<Made> {
        let failed = |error: io::Error| {
            DriverError::file_system(format!("the writable layer cannot be read: {error}")).with_source(error)
        };
        let root = Root::open(upper).map_err(failed)?;
        let (reader, writer) = io::pipe().map_err(failed)?;
        thread::scope(|scope| {
            let packer = scope.spawn(|| match self.worker() {
                None => {
                    let writer = io::BufWriter::with_capacity(1 << 16, writer);
                    pack_layer(&root, writer, Rights::of_this_process())
                }
                Some(worker) => worker.pack(&root, FileWork::PackLayer)?.drain(writer),
            });
            let made = layers::make(self, reader, &self.limits);
            let packed = packer
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the packer panicked")));
            match (made, packed) {
                // The packer ends with a broken pipe when the other end has failed.
                (Err(error), Err(packed)) if packed.kind() == io::ErrorKind::BrokenPipe => Err(error),
                (_, Err(packed)) => Err(failed(packed)),
                (made, Ok(())) => made,
            }
        })
    }
}
