//! `create_container`: check everything first, then build a directory and rename it into place.

use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use driver_types::{
    Capability, ContainerConfig, ContainerInstance, DriverError, Enforcement, MountType, PullPolicy,
    PullRequest, Result, Support, Violation,
};
use driver_validation::{ValidatedConfig, check_capabilities, check_capacity, validate_config};
use futures_util::TryStreamExt;

use crate::containers::unwritable;
use crate::core::{Core, blocking};
use crate::images::HOST;
use crate::layout::ContainerDir;
use crate::lock::FileLock;
use crate::names::Claim;
use crate::networks::outbound::Outbound;
use crate::query::describe;
use crate::spec::Spec;
use crate::time::now;
use crate::{etc, id, image_calls, lifecycle};

/// Makes a container without starting it.
pub(crate) async fn create_container(
    core: &Arc<Core>,
    config: &ContainerConfig,
) -> Result<ContainerInstance> {
    let config = validate_config(config)?;
    check(core, &config)?;
    let is_pinned = config.image == HOST || config.image_reference()?.is_image_id();
    let mut pull = config.pull_policy == PullPolicy::Always && !is_pinned;
    let config = Arc::new(config.into_inner());
    loop {
        if pull {
            let progress = image_calls::pull_image(core, &PullRequest::new(&config.image)).await?;
            progress.try_for_each(async |_| Ok(())).await?;
        }
        // On one thread from end to end, also when the caller goes away.
        let (core_of_it, config_of_it) = (Arc::clone(core), Arc::clone(&config));
        match blocking(move || make(&core_of_it, &config_of_it)).await? {
            Attempt::Made(made) => return Ok(made.claim()),
            Attempt::Pending(holder) => {
                until_finished(core, &holder).await?;
                pull = false;
            }
            Attempt::NoImage if pull => return Err(DriverError::image_not_found(&config.image)),
            Attempt::NoImage => {
                check_pull(core, &config, is_pinned)?;
                pull = true;
            }
        }
    }
}

/// What came of trying to make a container.
enum Attempt {
    Made(Box<Unclaimed>),
    /// The image is not here.
    NoImage,
    /// Another call is making one with the same request id.
    Pending(String),
}

/// Whether a missing image may be pulled.
fn check_pull(core: &Core, config: &ContainerConfig, is_pinned: bool) -> Result<()> {
    let missing = || DriverError::image_not_found(&config.image);
    if config.pull_policy == PullPolicy::Never {
        return Err(missing().with_context("pullPolicy", "never"));
    }
    if is_pinned || !core.capabilities.supports(Capability::PullImage) {
        return Err(missing());
    }
    Ok(())
}

/// What can be refused without looking at other objects.
pub(crate) fn check(core: &Core, config: &ValidatedConfig) -> Result<()> {
    check_capabilities(config, &core.capabilities)?;
    check_capacity(&config.resources, &core.host.capacity())?;
    core.unfit.clone().map_or(Ok(()), Err)
}

/// Keeps the container's volumes and its network from being removed before it is there.
fn hold_objects(core: &Core, config: &ContainerConfig) -> Result<[Option<FileLock>; 2]> {
    let own_network = !matches!(
        config.network.as_str(),
        ContainerConfig::NETWORK_NONE | ContainerConfig::NETWORK_HOST | ContainerConfig::NETWORK_DEFAULT
    );
    let has_volumes = !config.volumes.is_empty();
    Ok([
        has_volumes.then(|| core.volumes.hold()).transpose()?,
        own_network.then(|| core.networks.hold()).transpose()?,
    ])
}

/// The volumes that do not exist, and the host directories that do not.
fn check_volumes(core: &Core, config: &ContainerConfig) -> Result<()> {
    let mut violations = Vec::new();
    for (index, mount) in config.volumes.iter().enumerate() {
        let pointer = format!("/volumes/{index}/source");
        let source = &mount.source;
        match mount.effective_type() {
            MountType::Bind if !std::path::Path::new(source).exists() => violations.push(
                Violation::new(pointer, format!("there is no `{source}` on the host"))
                    .with_hint("make it first"),
            ),
            MountType::Volume if core.volumes.get(source)?.is_none() => violations.push(
                Violation::new(pointer, format!("there is no volume `{source}`"))
                    .with_hint("make it with create_volume first"),
            ),
            _ => {}
        }
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(DriverError::violations(violations))
    }
}

fn check_network(core: &Core, config: &ContainerConfig) -> Result<()> {
    match config.network.as_str() {
        ContainerConfig::NETWORK_DEFAULT if core.rootless.is_some() => return Outbound::check(config),
        ContainerConfig::NETWORK_NONE | ContainerConfig::NETWORK_HOST | ContainerConfig::NETWORK_DEFAULT => {}
        name if core.networks.get(name)?.is_none() => return Err(DriverError::network_not_found(name)),
        _ => {}
    }
    Ok(())
}

/// How the limits of a container are held.
fn enforcement(core: &Core, config: &ContainerConfig) -> Enforcement {
    let of = |capability| core.capabilities.get(capability);
    Enforcement {
        cpu: of(Capability::CpuLimit),
        memory: of(Capability::MemoryLimit),
        // A read-only root writes nothing: there the limit holds by itself.
        disk: if config.security.read_only {
            Support::native()
        } else {
            of(Capability::DiskLimit)
        },
        pids: of(Capability::PidsLimit),
    }
}

/// Makes the container, or finds out why not. Blocks.
fn make(core: &Arc<Core>, config: &ContainerConfig) -> Result<Attempt> {
    // It cannot be removed before the container is there.
    let _image = core.images.hold()?;
    let Some(image) = core.images.resolve(&config.image)? else {
        return Ok(Attempt::NoImage);
    };
    let _objects = hold_objects(core, config)?;
    check_volumes(core, config)?;
    check_network(core, config)?;
    let id = id::random().map_err(|error| DriverError::internal(error.to_string()))?;
    let mut draft = Draft::begin(core, &id)?;
    if let Some(request_id) = &config.request_id {
        let claim = core.names.claim_request(request_id, &id);
        match claim.map_err(|error| unwritable(&error))? {
            Claim::Won => draft.request_id = Some(request_id.clone()),
            Claim::Taken(holder) => return same_request(core, &holder, request_id, config),
            Claim::Pending(holder) => return Ok(Attempt::Pending(holder)),
        }
    }
    let name = config.name.clone();
    let name = name.unwrap_or_else(|| format!("openagent-{}", &id[..16]));
    let claim = core.names.claim_name(&name, &id);
    match claim.map_err(|error| unwritable(&error))? {
        Claim::Won => draft.name = Some(name.clone()),
        Claim::Taken(holder) | Claim::Pending(holder) => {
            let message = format!("the name `{name}` is taken by container {holder}");
            return Err(DriverError::container_creation(message).permanent());
        }
    }
    let (created_at, created_nanos) = now();
    let spec = Spec {
        enforcement: enforcement(core, config),
        id,
        name,
        owner: core.owner.to_string(),
        config: config.clone(),
        image,
        created_at,
        created_nanos,
    };
    draft.finish(core, spec).map(Box::new).map(Attempt::Made)
}

/// The container that an earlier call with the same request id made.
fn same_request(
    core: &Arc<Core>,
    holder: &str,
    request_id: &str,
    config: &ContainerConfig,
) -> Result<Attempt> {
    let found = core.containers.find(holder)?;
    if found.spec.config != *config {
        let message = format!("request id `{request_id}` was used with another config");
        let hint = "repeat the same config, or use another request id";
        return Err(DriverError::violations(vec![
            Violation::new("/requestId", message).with_hint(hint),
        ]));
    }
    Ok(Attempt::Made(Box::new(Unclaimed {
        core: Arc::clone(core),
        made: Some(describe(core, &found)),
        ours: false,
    })))
}

/// Waits until the maker of an unfinished container is done with it, one way or the other.
async fn until_finished(core: &Core, id: &str) -> Result<()> {
    match FileLock::acquire(core.layout.unfinished(id).lock()).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unwritable(&error)),
    }
}

/// A container that is being made. Dropped, nothing of it stays.
struct Draft {
    core: Arc<Core>,
    dir: ContainerDir,
    id: String,
    /// What it has claimed so far.
    name: Option<String>,
    request_id: Option<String>,
    /// Held until it is a container.
    lock: Option<FileLock>,
}

impl Draft {
    fn begin(core: &Arc<Core>, id: &str) -> Result<Self> {
        let dir = core.layout.unfinished(id);
        let lock = Self::make(&dir).map_err(|error| unwritable(&error))?;
        Ok(Self {
            core: Arc::clone(core),
            dir,
            id: id.to_owned(),
            name: None,
            request_id: None,
            lock: Some(lock),
        })
    }

    /// The directory with its lock. A sweep that comes between the two takes the directory for one of a dead maker: then it is
    /// made again.
    fn make(dir: &ContainerDir) -> std::io::Result<FileLock> {
        loop {
            match DirBuilder::new().mode(0o711).create(dir.path()) {
                // The sweep has its lock, and is about to take it away. The id is random, so it is nobody else's.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => std::thread::yield_now(),
                made => made?,
            }
            match FileLock::try_acquire(&dir.lock()) {
                Ok(Some(lock)) if dir.lock().exists() => return Ok(lock),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    fn finish(mut self, core: &Arc<Core>, spec: Spec) -> Result<Unclaimed> {
        self.write(&spec)?;
        let dir = core.layout.container(&spec.id);
        fs::rename(self.dir.path(), dir.path()).map_err(|error| unwritable(&error))?;
        // It is no draft any more, and what it has claimed is its own.
        drop(self.lock.take());
        core.containers.add(spec);
        let made = core.containers.find(&self.id)?;
        Ok(Unclaimed {
            core: Arc::clone(core),
            made: Some(describe(core, &made)),
            ours: true,
        })
    }

    fn write(&self, spec: &Spec) -> Result<()> {
        if !spec.config.security.read_only {
            let Core {
                host,
                layout,
                capabilities,
                shim,
                ..
            } = &*self.core;
            host.disks().make(layout, &self.dir, spec, capabilities, shim)?;
        }
        let write = || {
            etc::write(&self.dir.etc(), spec)?;
            DirBuilder::new().mode(0o700).create(self.dir.log())?;
            fs::File::create(self.dir.journal())?;
            let mut file = fs::File::create(self.dir.spec())?;
            file.write_all(&serde_json::to_vec(spec)?)
        };
        write().map_err(|error| unwritable(&error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        let (name, request_id) = (self.name.as_deref(), self.request_id.as_deref());
        self.core.names.release(name, request_id, &self.id);
        if let Err(error) = lifecycle::discard(&self.core, &self.dir) {
            tracing::warn!(container = self.id, %error, "a container that was not finished is left for recover");
        }
    }
}

/// A container whose creator has not yet heard of it. Dropped before that, it is removed.
struct Unclaimed {
    core: Arc<Core>,
    made: Option<ContainerInstance>,
    /// Whether this call made it.
    ours: bool,
}

impl Unclaimed {
    fn claim(mut self) -> ContainerInstance {
        match self.made.take() {
            Some(made) => made,
            None => unreachable!("an unclaimed container is claimed once"),
        }
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some(made) = self.made.take().filter(|_| self.ours) else {
            return;
        };
        let core = Arc::clone(&self.core);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let options = driver_types::RemoveOptions::force();
                if let Err(error) = lifecycle::remove_container(&core, &made.id, &options).await {
                    tracing::warn!(container = made.id, %error, "a container that nobody waits for was not removed");
                }
            });
        }
    }
}
