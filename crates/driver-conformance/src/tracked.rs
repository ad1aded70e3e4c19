//! A driver that remembers what it made, so that the case can be cleaned up after.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use driver_types::{
    BoxStream, ByteStream, Capabilities, ContainerConfig, ContainerDriver, ContainerFilter,
    ContainerInstance, ContainerStats, DriverHealth, Event, EventFilter, ExecResult, ExecSpec, ExitInfo,
    Image, ImportOptions, LogFrame, LogOptions, Network, NetworkConfig, ObjectKind, Plan, Preflight,
    ProcessHandle, PullProgress, PullRequest, ReapPolicy, ReapReport, RecoveryReport, RemoveOptions,
    ResourceLimits, Result, ShutdownMode, Signal, StopOptions, Volume, VolumeConfig, WaitCondition,
};

/// An object that a case made, in the order in which it has to be removed: containers use all the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Made {
    pub(crate) kind: ObjectKind,
    pub(crate) owner: String,
    pub(crate) id: String,
}

/// What one case made, by whichever driver.
///
/// Only calls that succeeded are noted: what a failed or dropped call leaves behind is a leak.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    owners: Mutex<BTreeSet<String>>,
    made: Mutex<BTreeSet<Made>>,
}

impl Inventory {
    pub(crate) fn note_owner(&self, owner: &str) {
        lock(&self.owners).insert(owner.to_owned());
    }

    pub(crate) fn owners(&self) -> BTreeSet<String> {
        lock(&self.owners).clone()
    }

    pub(crate) fn note(&self, owner: &str, kind: ObjectKind, id: &str) {
        lock(&self.made).insert(Made {
            kind,
            owner: owner.to_owned(),
            id: id.to_owned(),
        });
    }

    /// Everything that was made, containers first.
    pub(crate) fn made(&self) -> BTreeSet<Made> {
        lock(&self.made).clone()
    }
}

/// A panic in a case must not hide what it made.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tracked {
    inner: Arc<dyn ContainerDriver>,
    owner: String,
    inventory: Arc<Inventory>,
}

impl Tracked {
    pub(crate) fn new(inner: Arc<dyn ContainerDriver>, owner: String, inventory: Arc<Inventory>) -> Self {
        inventory.note_owner(&owner);
        Self {
            inner,
            owner,
            inventory,
        }
    }

    fn note(&self, kind: ObjectKind, id: &str) {
        self.inventory.note(&self.owner, kind, id);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ContainerDriver for Tracked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn version(&self) -> &str {
        self.inner.version()
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<ContainerInstance> {
        let container = self.inner.create_container(config).await?;
        self.note(ObjectKind::Container, &container.id);
        Ok(container)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.inner.start_container(id).await
    }

    async fn stop_container(&self, id: &str, options: &StopOptions) -> Result<()> {
        self.inner.stop_container(id, options).await
    }

    async fn remove_container(&self, id: &str, options: &RemoveOptions) -> Result<()> {
        self.inner.remove_container(id, options).await
    }

    async fn get_container(&self, id: &str) -> Result<Option<ContainerInstance>> {
        self.inner.get_container(id).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
        self.inner.list_containers(filter).await
    }

    async fn get_container_logs(&self, id: &str, options: &LogOptions) -> Result<String> {
        self.inner.get_container_logs(id, options).await
    }

    async fn health_check(&self) -> Result<DriverHealth> {
        self.inner.health_check().await
    }

    async fn is_container_healthy(&self, id: &str) -> Result<bool> {
        self.inner.is_container_healthy(id).await
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<Volume> {
        let volume = self.inner.create_volume(config).await?;
        self.note(ObjectKind::Volume, &volume.name);
        Ok(volume)
    }

    async fn remove_volume(&self, id: &str) -> Result<()> {
        self.inner.remove_volume(id).await
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<Network> {
        let network = self.inner.create_network(config).await?;
        self.note(ObjectKind::Network, &network.name);
        Ok(network)
    }

    async fn remove_network(&self, id: &str) -> Result<()> {
        self.inner.remove_network(id).await
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        self.inner.capabilities().await
    }

    async fn wait_container(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        self.inner.wait_container(id, until).await
    }

    async fn signal_container(&self, id: &str, signal: Signal) -> Result<()> {
        self.inner.signal_container(id, signal).await
    }

    async fn pause_container(&self, id: &str) -> Result<()> {
        self.inner.pause_container(id).await
    }

    async fn resume_container(&self, id: &str) -> Result<()> {
        self.inner.resume_container(id).await
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
        self.inner.exec(id, spec).await
    }

    async fn exec_stream(&self, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
        self.inner.exec_stream(id, spec).await
    }

    async fn attach(&self, id: &str) -> Result<ProcessHandle> {
        self.inner.attach(id).await
    }

    async fn stream_logs(&self, id: &str, options: &LogOptions) -> Result<BoxStream<LogFrame>> {
        self.inner.stream_logs(id, options).await
    }

    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        self.inner.container_stats(id).await
    }

    async fn stream_stats(&self, id: &str, interval_ms: u64) -> Result<BoxStream<ContainerStats>> {
        self.inner.stream_stats(id, interval_ms).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<BoxStream<Event>> {
        self.inner.events(filter).await
    }

    async fn copy_into(&self, id: &str, path: &str, archive: ByteStream) -> Result<()> {
        self.inner.copy_into(id, path, archive).await
    }

    async fn copy_from(&self, id: &str, path: &str) -> Result<ByteStream> {
        self.inner.copy_from(id, path).await
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.inner.list_volumes().await
    }

    async fn get_volume(&self, id: &str) -> Result<Option<Volume>> {
        self.inner.get_volume(id).await
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.inner.list_networks().await
    }

    async fn get_network(&self, id: &str) -> Result<Option<Network>> {
        self.inner.get_network(id).await
    }

    async fn pull_image(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        let progress = self.inner.pull_image(request).await?;
        // Noted at once: the image may arrive although the reader has gone away.
        self.note(ObjectKind::Image, &request.reference);
        Ok(progress)
    }

    async fn import_image(&self, options: &ImportOptions, archive: ByteStream) -> Result<Image> {
        let image = self.inner.import_image(options, archive).await?;
        self.note(ObjectKind::Image, &options.reference);
        Ok(image)
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        self.inner.list_images().await
    }

    async fn get_image(&self, reference: &str) -> Result<Option<Image>> {
        self.inner.get_image(reference).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.inner.remove_image(reference).await
    }

    async fn update_resources(&self, id: &str, limits: &ResourceLimits) -> Result<()> {
        self.inner.update_resources(id, limits).await
    }

    async fn snapshot_container(&self, id: &str, reference: &str) -> Result<Image> {
        let image = self.inner.snapshot_container(id, reference).await?;
        self.note(ObjectKind::Image, reference);
        Ok(image)
    }

    async fn preflight(&self) -> Result<Preflight> {
        self.inner.preflight().await
    }

    async fn plan(&self, config: &ContainerConfig) -> Result<Plan> {
        self.inner.plan(config).await
    }

    async fn recover(&self) -> Result<RecoveryReport> {
        self.inner.recover().await
    }

    async fn reap(&self, policy: &ReapPolicy) -> Result<ReapReport> {
        self.inner.reap(policy).await
    }

    async fn shutdown(&self, mode: ShutdownMode) -> Result<()> {
        self.inner.shutdown(mode).await
    }
}
