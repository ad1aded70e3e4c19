//! Copying into and out of a container, updating its limits, and making an image of it.

use std::sync::Arc;

use bytes::Bytes;
use driver_types::{
    ByteStream, ContainerStatus, DriverError, EventKind, Image, ResourceLimits, Result, Violation,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::MockDriver;
use crate::fs::{pack, unpack};
use crate::kernel::MIB;
use crate::script::Lie;
use crate::world::{ImageData, Sandbox, locked};

/// The largest archive that is taken, in bytes.
const MAX_ARCHIVE: usize = 1 << 30;

/// Reads a whole archive.
pub(super) async fn read_archive(mut archive: ByteStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = archive.try_next().await? {
        if bytes.len() + piece.len() > MAX_ARCHIVE {
            let message = format!(
                "the archive is larger than {} MiB; copy it in parts",
                MAX_ARCHIVE >> 20
            );
            return Err(DriverError::file_system(message));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

impl MockDriver {
    /// Only what is neither going nor lost can be copied.
    fn copyable(&self, id: &str) -> Result<Sandbox> {
        let (sandbox, instance) = self.find(id)?;
        match instance.status {
            ContainerStatus::Removing | ContainerStatus::Dead => {
                let allowed = ContainerStatus::ALL
                    .into_iter()
                    .filter(|status| !matches!(status, ContainerStatus::Removing | ContainerStatus::Dead));
                Err(DriverError::invalid_state(id, instance.status, allowed))
            }
            _ => Ok(sandbox),
        }
    }

    pub(super) async fn do_copy_into(&self, id: &str, path: &str, archive: ByteStream) -> Result<()> {
        driver_validation::validate_path(path)?;
        let sandbox = self.copyable(id)?;
        let mut archive = read_archive(archive).await?;
        if self.lies(Lie::TruncateCopies) {
            archive.iter_mut().skip(512).take(1).for_each(|byte| *byte ^= 1);
        }
        let mounts = sandbox.with_kernel(|kernel, _| kernel.mounts());
        let now = self.world.clock.now_ms() / 1000;
        let unpacked = unpack(&mounts, path, &archive, now, self.lies(Lie::AllowPathEscape));
        sandbox.with_kernel(|kernel, now| kernel.charge_memory(now));
        unpacked.map_err(DriverError::file_system)
    }

    pub(super) async fn do_copy_from(&self, id: &str, path: &str) -> Result<ByteStream> {
        driver_validation::validate_path(path)?;
        let sandbox = self.copyable(id)?;
        let mounts = sandbox.with_kernel(|kernel, _| kernel.mounts());
        let packed = pack(&mounts, path).map_err(DriverError::file_system)?;
        let packed = Bytes::from(packed);
        let pieces: Vec<Result<Bytes>> = (0..packed.len())
            .step_by(PIECE)
            .map(|start| Ok(packed.slice(start..packed.len().min(start + PIECE))))
            .collect();
        Ok(stream::iter(pieces).boxed())
    }

    pub(super) async fn do_update(&self, id: &str, limits: &ResourceLimits) -> Result<()> {
        driver_validation::validate_resource_limits(limits)?;
        let (sandbox, instance) = self.find(id)?;
        if !self.lies(Lie::IgnoreCapacity) {
            driver_validation::check_capacity(limits, &self.capacity())?;
        }
        let _turn = sandbox.container.order.lock().await;
        let native_disk = self.capabilities.supports(driver_types::Capability::DiskLimit);
        if limits.disk != instance.resources.disk && !native_disk {
            let violation = Violation::new("/disk", "the limit of the writable layer cannot be changed")
                .with_hint(format!("leave it at {}", instance.resources.disk));
            return Err(DriverError::violations(vec![violation]));
        }
        sandbox.with_kernel(|kernel, now| {
            let used = kernel.memory();
            if used > limits.memory * MIB {
                let message = format!("{} MiB is less than the container uses", limits.memory);
                let violation = Violation::new("/memory", message)
                    .with_hint(format!("use at least {}", used.div_ceil(MIB)));
                return Err(DriverError::violations(vec![violation]));
            }
            self.world
                .containers
                .update(self.scope(), id, |container| *container.resources = *limits)?;
            kernel.settle(now);
            kernel.limits = *limits;
            if native_disk {
                locked(sandbox.container.mounts.root()).set_limit(Some(limits.disk * MIB));
            }
            Ok(())
        })
    }

    pub(super) async fn do_snapshot(&self, id: &str, reference: &str) -> Result<Image> {
        driver_validation::validate_new_image_reference(reference)?;
        let sandbox = self.copyable(id)?;
        let container = &sandbox.container;
        let root = locked(container.mounts.root()).clone().freeze();
        let image = Arc::new(ImageData {
            id: format!("sha256:{}", self.world.new_id()),
            entrypoint: container.image.entrypoint.clone(),
            command: container.image.command.clone(),
            env: container.image.env.clone(),
            working_dir: container.image.working_dir.clone(),
            labels: container.image.labels.clone(),
            created_at: self.world.clock.now_ms(),
            size_bytes: root.total_size(),
            root,
            prepared: Default::default(),
        });
        Ok(self.add_image(reference, image))
    }

    /// Adds an image and tells it.
    pub(super) fn add_image(&self, reference: &str, image: Arc<ImageData>) -> Image {
        self.world
            .images
            .add(reference, Arc::clone(&image), |id| self.user_of(id).is_some());
        self.world.tell(
            None,
            EventKind::ImageAdded {
                reference: reference.to_owned(),
            },
        );
        self.world.images.info(&image)
    }
}

/// Bytes of a piece of a stream.
const PIECE: usize = 64 * 1024;
