//! `create_container` and `plan`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use driver_types::{
    Capability, ContainerConfig, ContainerInstance, ContainerStatus, DriverError, EventKind, MountType, Plan,
    PullPolicy, Result, Violation,
};
use driver_validation::{Capacity, ValidatedConfig, check_capabilities, check_capacity, plan_items};

use super::MockDriver;
use crate::fs::{FsType, Mount, ROOT, Tree};
use crate::kernel::{Enforce, Environment, Kernel, MIB, MountPlan, environment};
use crate::script::Lie;
use crate::world::{Container, DEFAULT_PATH, ImageData, MainOutput, inner_sandbox, locked};

impl MockDriver {
    /// Everything that can be said about a config without looking at the world.
    pub(super) fn check_config(&self, config: &ContainerConfig) -> Result<ContainerConfig> {
        if self.lies(Lie::SkipValidation) {
            return Ok(config.clone());
        }
        let config = ValidatedConfig::new(config.clone())?;
        if !self.lies(Lie::AcceptUndeclared) {
            check_capabilities(&config, &self.capabilities)?;
        }
        if !self.lies(Lie::IgnoreCapacity) {
            check_capacity(&config.resources, &self.capacity())?;
        }
        Ok(config.into_inner())
    }

    pub(super) fn capacity(&self) -> Capacity {
        let capacity = self.world.script.capacity;
        Capacity {
            cpu: Some(capacity.cpu),
            memory: Some(capacity.memory),
            disk: Some(capacity.disk),
            pids: None,
        }
    }

    pub(super) async fn do_create(
        &self,
        config: &ContainerConfig,
        partial: bool,
    ) -> Result<ContainerInstance> {
        let config = self.check_config(config)?;
        let request = config
            .request_id
            .clone()
            .filter(|_| !self.lies(Lie::IgnoreRequestId));
        // Two calls of one request do not race: the second sees what the first made.
        let _turn = match &request {
            Some(request) => Some(
                self.world
                    .order
                    .lock(&format!("request {} {request}", self.owner))
                    .await,
            ),
            None => None,
        };
        if let Some(request) = &request
            && let Some(container) = self.made_by(request)
        {
            return self.same_again(&container, &config, request);
        }
        let image = self.image_for(&config).await?;
        let result = self.build(config, image, partial);
        if result.is_err() && self.lies(Lie::LeakOnFailedCreate) {
            self.leak();
        }
        result
    }

    fn made_by(&self, request: &str) -> Option<Arc<Container>> {
        self.world
            .containers
            .read_by_request(&self.owner, request, |record| Arc::clone(&record.data))
    }

    /// A repeated request gives the same container, if it asks for the same.
    fn same_again(
        &self,
        container: &Container,
        config: &ContainerConfig,
        request: &str,
    ) -> Result<ContainerInstance> {
        if *container.config != *config {
            let message = format!(
                "the request `{request}` made container {} of another config",
                container.id
            );
            let violation =
                Violation::new("/requestId", message).with_hint("use a new request id for a new container");
            return Err(DriverError::violations(vec![violation]));
        }
        self.world
            .containers
            .get(self.scope(), &container.id)
            .map(|instance| (*instance).clone())
            .ok_or_else(|| DriverError::container_not_found(&*container.id))
    }

    async fn image_for(&self, config: &ContainerConfig) -> Result<Arc<ImageData>> {
        let here = self.world.images.find(&config.image);
        match (config.pull_policy, here) {
            (PullPolicy::Missing | PullPolicy::Never, Some(image)) => Ok(image),
            (PullPolicy::Never, None) if !self.lies(Lie::PullAgainstPolicy) => {
                Err(DriverError::image_not_found(&config.image))
            }
            _ => self.pull(&config.image, None).await,
        }
    }

    /// Builds a container, or leaves nothing.
    fn build(
        &self,
        config: ContainerConfig,
        image: Arc<ImageData>,
        partial: bool,
    ) -> Result<ContainerInstance> {
        let id: Arc<str> = self.world.new_id().into();
        let name = config.name.clone().unwrap_or_else(|| self.free_name(&id));
        let request = config
            .request_id
            .as_deref()
            .filter(|_| !self.lies(Lie::IgnoreRequestId));
        let owner = &self.owner;
        let reservation = self.world.containers.reserve(owner, &name, request)?;
        let named = config
            .volumes
            .iter()
            .filter(|volume| volume.effective_type() == MountType::Volume);
        let volumes = self
            .world
            .volumes
            .hold(owner, &id, named.map(|volume| volume.source.as_str()))?;
        let network = Some(config.network.as_str()).filter(|name| !is_reserved_network(name));
        let networks = self.world.networks.hold(owner, &id, network)?;
        let container = Arc::new(self.container(Arc::clone(&id), config, image)?);
        if partial {
            locked(&self.world.partial).insert(id.to_string(), Arc::clone(&container));
            volumes.keep();
            networks.keep();
            return Err(DriverError::container_creation("the driver died half-way"));
        }
        let instance = self.instance(&container, &name);
        let instance = reservation.commit(instance, Arc::clone(&container))?;
        volumes.keep();
        networks.keep();
        inner_sandbox(&self.world, container).tell(EventKind::Created);
        let mut instance = (*instance).clone();
        if self.lies(Lie::ForgetLabels) {
            instance.labels.clear();
        }
        Ok(instance)
    }

    fn free_name(&self, id: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed).to_string();
        [self.world.profile.name(), "-", &number, "-", &id[..12]].concat()
    }

    fn instance(&self, container: &Container, name: &str) -> ContainerInstance {
        let config = &container.config;
        let status = ContainerStatus::Created;
        ContainerInstance {
            id: container.id.to_string(),
            name: name.to_owned(),
            session_id: config.session_id.clone(),
            image: config.image.clone(),
            image_digest: Some(container.image.id.clone()),
            status,
            state: status.state(),
            endpoint: ContainerInstance::endpoint_of(self.world.profile.name(), &container.id, &[]),
            created_at: self.world.clock.now_ms(),
            started_at: None,
            finished_at: None,
            exit: None,
            health: None,
            ports: Vec::new(),
            addresses: Vec::new(),
            labels: if self.lies(Lie::ForgetLabels) {
                BTreeMap::new()
            } else {
                config.labels.clone()
            },
            resources: config.resources,
            enforcement: self.world.profile.enforcement(config, &self.capabilities),
            driver: self.world.profile.name().to_owned(),
            restarts: 0,
        }
    }

    fn container(&self, id: Arc<str>, config: ContainerConfig, image: Arc<ImageData>) -> Result<Container> {
        let hostname: Arc<str> = config.hostname.as_deref().unwrap_or(&id[..12]).into();
        let config = Arc::new(config);
        let mounts = Arc::new(self.mount_plan(&config, &image, &hostname)?);
        let argv = command_line(&config, &image);
        if argv.is_empty() {
            let violation = Violation::new("/command", "the image has no default command, and none is given")
                .with_hint("set `command` or `entrypoint`");
            return Err(DriverError::violations(vec![violation]));
        }
        let working_dir = config
            .working_dir
            .as_deref()
            .or(image.working_dir.as_deref())
            .unwrap_or("/");
        let enforce = Enforce {
            cpu: !self.lies(Lie::IgnoreCpuLimit),
            memory: !self.lies(Lie::IgnoreMemoryLimit),
            pids: !self.lies(Lie::IgnorePidsLimit),
            cores: self.world.script.capacity.cpu,
        };
        Ok(Container {
            owner: Arc::clone(&self.owner),
            argv,
            env: environment_of(&config, &image, &hostname),
            working_dir: working_dir.into(),
            hostname,
            kernel: Mutex::new(Kernel::new(config.resources, enforce, Arc::clone(&mounts))),
            mounts,
            output: Arc::new(MainOutput::new(self.world.script.log_bytes)),
            order: Arc::default(),
            changed: tokio::sync::Notify::new(),
            console: Mutex::default(),
            execs: AtomicU64::new(0),
            last_exit: Mutex::default(),
            made_at: self.world.clock.now_ms(),
            id,
            config,
            image,
        })
    }

    fn mount_plan(
        &self,
        config: &Arc<ContainerConfig>,
        image: &Arc<ImageData>,
        hostname: &Arc<str>,
    ) -> Result<MountPlan> {
        let quota = self.capabilities.supports(Capability::DiskLimit);
        let mut volumes = Vec::with_capacity(config.volumes.len());
        for (index, volume) in config.volumes.iter().enumerate() {
            let ignored =
                !self.capabilities.supports(Capability::BindMounts) && self.lies(Lie::AcceptUndeclared);
            let (tree, root) = match volume.effective_type() {
                MountType::Bind if ignored => continue,
                MountType::Bind => self.world.bind(&volume.source).ok_or_else(|| {
                    let violation = Violation::new(
                        format!("/volumes/{index}/source"),
                        format!("`{}` does not exist on the host", volume.source.escape_debug()),
                    );
                    DriverError::violations(vec![violation.with_hint("make the directory first")])
                })?,
                MountType::Volume if self.lies(Lie::ForgetVolumeContent) => (Tree::new(0o777).shared(), ROOT),
                MountType::Volume => {
                    let id = self.world.volumes.require(self.scope(), &volume.source)?.id;
                    let tree = locked(&self.world.volume_trees).get(&id).cloned();
                    (
                        tree.ok_or_else(|| DriverError::volume_not_found(&volume.source))?,
                        ROOT,
                    )
                }
            };
            volumes.push(Mount {
                target: volume.target.clone().into(),
                tree,
                root,
                read_only: volume.read_only,
                fs_type: FsType::Ext4,
            });
        }
        volumes.sort_by_key(|mount| mount.target.matches('/').count());
        Ok(MountPlan {
            image: Arc::clone(image),
            config: Arc::clone(config),
            hostname: Arc::clone(hostname),
            disk_limit: quota.then(|| config.resources.disk * MIB),
            read_only: config.security.read_only && !self.lies(Lie::WritableRoot),
            volumes,
            root: OnceLock::new(),
            etc: OnceLock::new(),
        })
    }

    /// A container that nobody knows of: what a careless driver leaves.
    fn leak(&self) {
        let config = ContainerConfig::new("leak", "leak");
        let image = Arc::new(ImageData {
            id: "sha256:leak".to_owned(),
            entrypoint: Vec::new(),
            command: vec!["leak".to_owned()],
            env: Default::default(),
            working_dir: None,
            labels: Default::default(),
            created_at: 0,
            size_bytes: 0,
            root: Tree::new(0o755).freeze(),
            prepared: Mutex::default(),
        });
        let _ = self.build(config, image, false);
    }

    pub(super) fn do_plan(&self, config: &ContainerConfig) -> Result<Plan> {
        let config = ValidatedConfig::new(config.clone())?;
        check_capacity(&config.resources, &self.capacity())?;
        let items = plan_items(&config, &self.capabilities);
        let here = self.world.images.find(&config.image);
        Ok(Plan {
            driver: self.world.profile.name().to_owned(),
            feasible: items
                .iter()
                .all(|item| item.support != driver_types::SupportLevel::None),
            image: config.image.clone(),
            image_digest: here.as_ref().map(|image| image.id.clone()),
            pull: match config.pull_policy {
                PullPolicy::Always => true,
                PullPolicy::Missing => here.is_none(),
                PullPolicy::Never => false,
            },
            items,
        })
    }
}

/// What processes have in their environment.
fn environment_of(
    config: &Arc<ContainerConfig>,
    image: &Arc<ImageData>,
    hostname: &Arc<str>,
) -> Arc<Environment> {
    let (config, image, hostname) = (Arc::clone(config), Arc::clone(image), Arc::clone(hostname));
    environment(move || {
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
            ("HOSTNAME".to_owned(), hostname.to_string()),
        ]);
        if config.tty {
            env.insert("TERM".to_owned(), "xterm".to_owned());
        }
        for (name, value) in image.env.iter().chain(config.env.iter()) {
            env.insert(name.clone(), value.clone());
        }
        env
    })
}

pub(super) fn is_reserved_network(name: &str) -> bool {
    [
        ContainerConfig::NETWORK_NONE,
        ContainerConfig::NETWORK_HOST,
        ContainerConfig::NETWORK_DEFAULT,
    ]
    .contains(&name)
}

/// Each part as the config says, else as the image does; the image's command belongs to the image's entrypoint.
fn command_line(config: &ContainerConfig, image: &ImageData) -> Arc<[String]> {
    let (entrypoint, default) = match &config.entrypoint {
        Some(entrypoint) => (entrypoint, &[][..]),
        None => (&image.entrypoint, image.command.as_slice()),
    };
    let command = config.command.as_deref().unwrap_or(default);
    entrypoint.iter().chain(command).cloned().collect()
}
