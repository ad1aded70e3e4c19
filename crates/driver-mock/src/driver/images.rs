//! Images: pulling, importing, listing, removing.

use std::sync::Arc;
use std::time::Duration;

use driver_state::Scope;
use driver_types::{
    BoxStream, ByteStream, ContainerFilter, DriverError, EventKind, Image, ImportOptions, PullProgress,
    PullRequest, RegistryAuth, Result,
};
use driver_validation::ImageReference;
use futures_util::stream;
use secrecy::ExposeSecret;

use super::MockDriver;
use super::files::read_archive;
use crate::fs::{FsType, Mount, ROOT, Tree, unpack};
use crate::kernel::add_mount_points;
use crate::script::{Lie, RegistryImage};
use crate::world::{ImageData, Inner, locked, registry_root};

impl MockDriver {
    /// A container that is made of an image, of any owner.
    pub(super) fn user_of(&self, image: &str) -> Option<String> {
        let all = ContainerFilter {
            all_owners: true,
            ..ContainerFilter::default()
        };
        let users = self.world.containers.read_all(Scope::All, &all, |record| {
            (record.data.image.id == image).then(|| record.data.id.to_string())
        });
        users.into_iter().flatten().next()
    }

    /// Pulls an image and waits for it. Calls for one reference with the same credentials are done one after another;
    /// those that waited take what the first one brought.
    pub(super) async fn pull(&self, reference: &str, auth: Option<&RegistryAuth>) -> Result<Arc<ImageData>> {
        let remote = offered(&self.world, reference, auth)?;
        let before = self.world.registry_count(reference);
        let _turn = self.world.order.lock(&pull_key(reference, auth)).await;
        if self.world.registry_count(reference) > before
            && let Some(image) = self.world.images.find(reference)
        {
            return Ok(image);
        }
        for _ in &remote.layers {
            self.world
                .clock
                .sleep(Duration::from_millis(remote.layer_ms))
                .await;
        }
        // Counted at its end, so that whoever came meanwhile can tell that it was done for them too.
        self.world.count_registry_read(reference);
        Ok(self.take_in(reference, &remote))
    }

    /// Puts an image of the registry among those that are here.
    fn take_in(&self, reference: &str, remote: &RegistryImage) -> Arc<ImageData> {
        if let Some(same) = self.world.images.find(reference) {
            return same;
        }
        let image = registry_image(&self.world, remote);
        self.add_image(reference, Arc::clone(&image));
        image
    }

    pub(super) fn do_pull(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        driver_validation::validate_pull_request(request)?;
        let remote = offered(&self.world, &request.reference, request.auth.as_ref())?;
        // A driver of its own: the stream outlives the call, and dropping it ends the pull.
        let puller = MockDriver::open(&self.world(), super::MockOptions::owner(&*self.owner))?;
        let request = request.clone();
        let layers = progress_of(&remote);
        let last = stream::once(async move {
            let image = puller.pull(&request.reference, request.auth.as_ref()).await?;
            Ok(PullProgress {
                status: PullProgress::COMPLETE.to_owned(),
                layer: None,
                current_bytes: None,
                total_bytes: None,
                image: Some(puller.world.images.info(&image)),
            })
        });
        Ok(Box::pin(futures_util::StreamExt::chain(
            stream::iter(layers),
            last,
        )))
    }

    pub(super) async fn do_import(&self, options: &ImportOptions, archive: ByteStream) -> Result<Image> {
        driver_validation::validate_import_options(options)?;
        let archive = read_archive(archive).await?;
        let root = Tree::new(0o755).shared();
        let mounts = [Mount {
            target: "/".into(),
            tree: Arc::clone(&root),
            root: ROOT,
            read_only: false,
            fs_type: FsType::Overlay,
        }];
        let now = self.world.clock.now_ms();
        unpack(&mounts, "/", &archive, now / 1000, false).map_err(DriverError::file_system)?;
        add_mount_points(&mut locked(&root));
        let root = locked(&root).clone().freeze();
        let image = Arc::new(ImageData {
            id: format!("sha256:{}", self.world.new_id()),
            entrypoint: options.entrypoint.clone(),
            command: options.command.clone(),
            env: options.env.clone(),
            working_dir: options.working_dir.clone(),
            labels: options.labels.clone(),
            created_at: now,
            size_bytes: root.total_size(),
            root,
            prepared: Default::default(),
        });
        Ok(self.add_image(&options.reference, image))
    }

    pub(super) fn do_list_images(&self) -> Vec<Image> {
        if self.lies(Lie::ForgetImports) {
            return Vec::new();
        }
        let images = self.world.images.list();
        images.iter().map(|image| self.world.images.info(image)).collect()
    }

    pub(super) fn do_get_image(&self, reference: &str) -> Option<Image> {
        let image = self.world.images.find(reference)?;
        Some(self.world.images.info(&image))
    }

    pub(super) fn do_remove_image(&self, reference: &str) -> Result<()> {
        let image = self
            .world
            .images
            .find(reference)
            .ok_or_else(|| DriverError::image_not_found(reference))?;
        if let Some(user) = self.user_of(&image.id) {
            let message =
                format!("image {reference} is in use by container {user}; remove that container first");
            return Err(DriverError::configuration(message));
        }
        for reference in self.world.images.remove(reference) {
            self.world.tell(None, EventKind::ImageRemoved { reference });
        }
        Ok(())
    }
}

fn pull_key(reference: &str, auth: Option<&RegistryAuth>) -> String {
    // Who asks is part of the key: nobody may ride on another's credentials.
    let user = auth.map_or("", |auth| auth.username.as_str());
    format!("pull {user} {reference}")
}

/// What the registry offers, if the credentials are good.
fn offered(world: &Inner, reference: &str, auth: Option<&RegistryAuth>) -> Result<RegistryImage> {
    let normal = |text: &str| {
        text.parse::<ImageReference>()
            .map(|reference| reference.normalized())
    };
    let wanted = normal(reference)?;
    let known = world.script.registry.iter();
    let image = known
        .clone()
        .find(|image| normal(&image.reference).is_ok_and(|offered| offered == wanted))
        .ok_or_else(|| DriverError::image_not_found(reference))?;
    if let Some(login) = &image.login {
        let good = auth.is_some_and(|auth| {
            auth.username == login.username && auth.password.expose_secret() == login.password
        });
        if !good {
            let message = format!("the registry wants other credentials for {reference}");
            return Err(DriverError::authentication(message));
        }
    }
    Ok(image.clone())
}

fn progress_of(remote: &RegistryImage) -> Vec<Result<PullProgress>> {
    let layers = remote.layers.iter().enumerate();
    layers
        .map(|(number, bytes)| {
            Ok(PullProgress {
                status: "downloading".to_owned(),
                layer: Some(format!("layer-{number}")),
                current_bytes: Some(0),
                total_bytes: Some(*bytes),
                image: None,
            })
        })
        .collect()
}

fn registry_image(world: &Inner, remote: &RegistryImage) -> Arc<ImageData> {
    let root = registry_root(remote);
    let layers: u64 = remote.layers.iter().sum();
    Arc::new(ImageData {
        id: format!("sha256:{}", world.new_id()),
        entrypoint: remote.entrypoint.clone(),
        command: if remote.command.is_empty() && remote.entrypoint.is_empty() {
            vec![
                remote
                    .programs
                    .first()
                    .cloned()
                    .unwrap_or_else(|| "true".to_owned()),
            ]
        } else {
            remote.command.clone()
        },
        env: Default::default(),
        working_dir: None,
        labels: remote.labels.clone(),
        created_at: world.clock.now_ms(),
        size_bytes: layers.max(root.total_size()),
        root,
        prepared: Default::default(),
    })
}

impl Inner {
    fn registry_count(&self, reference: &str) -> u64 {
        locked(&self.registry_reads).get(reference).copied().unwrap_or(0)
    }

    fn count_registry_read(&self, reference: &str) {
        *locked(&self.registry_reads)
            .entry(reference.to_owned())
            .or_default() += 1;
    }
}
