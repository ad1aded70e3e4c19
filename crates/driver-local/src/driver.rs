//! [`LocalDriver`]: the contract's trait, each method one line into the module of its subject.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use driver_types::{
    BoxStream, ByteStream, Capabilities, ContainerConfig, ContainerDriver, ContainerFilter,
    ContainerInstance, ContainerStats, DriverHealth, Event, EventFilter, ExecResult, ExecSpec, ExitInfo,
    Image, ImportOptions, LogFrame, LogOptions, Network, NetworkConfig, Operation as Op, Plan, Preflight,
    ProcessHandle, PullProgress, PullRequest, ReapPolicy, ReapReport, RecoveryReport, RemoveOptions,
    ResourceLimits, Result, ShutdownMode, Signal, StopOptions, Volume, VolumeConfig, WaitCondition,
};

use crate::core::Core;
use crate::options::LocalOptions;
use crate::{
    create, events, exec_calls, files, image_calls, lifecycle, logs, object_calls, plan, query, reap,
    recover, stats, update,
};

/// Containers on this machine's kernel, without a daemon.
///
/// Clones share one cache and one order of calls. See the [crate's page](crate).
#[derive(Clone, Debug)]
pub struct LocalDriver {
    core: Arc<Core>,
}

impl LocalDriver {
    /// Opens a driver on a state directory, which is made where it is missing. Nothing is started.
    ///
    /// # Errors
    ///
    /// A configuration error for an owner that is no name; `FILE_SYSTEM_ERROR` for a state directory that cannot be
    /// used; `INTERNAL_ERROR` where the shim was not built.
    pub fn open(options: LocalOptions) -> Result<Self> {
        let core = Core::open(options).map_err(|error| error.with_driver(crate::DRIVER_NAME))?;
        Ok(Self { core: Arc::new(core) })
    }

    /// Takes the images of an archive that `docker save` wrote, or of an OCI image layout in a tar; gzip and zstd are undone.
    /// Their references come from the archive. A repeat changes nothing.
    ///
    /// # Errors
    ///
    /// `FILE_SYSTEM_ERROR` for an archive without images, a broken one, a digest that does not fit, or an image that is not made
    /// for this machine.
    pub async fn load_images(&self, archive: ByteStream) -> Result<Vec<Image>> {
        self.within(Op::ImportImage, image_calls::load_images(&self.core, archive))
            .await
    }

    async fn within<T>(&self, operation: Op, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.core.within(operation, Duration::ZERO, work).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ContainerDriver for LocalDriver {
    fn name(&self) -> &str {
        crate::DRIVER_NAME
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<ContainerInstance> {
        let work = create::create_container(&self.core, config);
        self.within(Op::CreateContainer, work).await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let work = lifecycle::start_container(&self.core, id);
        self.within(Op::StartContainer, work).await
    }

    async fn stop_container(&self, id: &str, options: &StopOptions) -> Result<()> {
        let work = lifecycle::stop_container(&self.core, id, options);
        let grace = Duration::from_millis(options.effective_timeout());
        self.core.within(Op::StopContainer, grace, work).await
    }

    async fn remove_container(&self, id: &str, options: &RemoveOptions) -> Result<()> {
        let work = lifecycle::remove_container(&self.core, id, options);
        self.within(Op::RemoveContainer, work).await
    }

    async fn get_container(&self, id: &str) -> Result<Option<ContainerInstance>> {
        let work = async { query::get_container(&self.core, id) };
        self.within(Op::GetContainer, work).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
        let work = async { query::list_containers(&self.core, filter) };
        self.within(Op::ListContainers, work).await
    }

    async fn get_container_logs(&self, id: &str, options: &LogOptions) -> Result<String> {
        let work = logs::get_container_logs(&self.core, id, options);
        self.within(Op::GetContainerLogs, work).await
    }

    async fn health_check(&self) -> Result<DriverHealth> {
        let work = async { Ok(query::health_check(&self.core)) };
        self.within(Op::HealthCheck, work).await
    }

    async fn is_container_healthy(&self, id: &str) -> Result<bool> {
        let work = async { query::is_container_healthy(&self.core, id) };
        self.within(Op::IsContainerHealthy, work).await
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<Volume> {
        let work = object_calls::create_volume(&self.core, config);
        self.within(Op::CreateVolume, work).await
    }

    async fn remove_volume(&self, id: &str) -> Result<()> {
        let work = object_calls::remove_volume(&self.core, id);
        self.within(Op::RemoveVolume, work).await
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<Network> {
        let work = object_calls::create_network(&self.core, config);
        self.within(Op::CreateNetwork, work).await
    }

    async fn remove_network(&self, id: &str) -> Result<()> {
        let work = object_calls::remove_network(&self.core, id);
        self.within(Op::RemoveNetwork, work).await
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        let work = async { Ok(self.core.capabilities.clone()) };
        self.within(Op::Capabilities, work).await
    }

    async fn wait_container(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        let work = query::wait_container(&self.core, id, until);
        self.within(Op::WaitContainer, work).await
    }

    async fn signal_container(&self, id: &str, signal: Signal) -> Result<()> {
        let work = async { lifecycle::signal_container(&self.core, id, signal) };
        self.within(Op::SignalContainer, work).await
    }

    async fn pause_container(&self, id: &str) -> Result<()> {
        let work = lifecycle::pause_container(&self.core, id);
        self.within(Op::PauseContainer, work).await
    }

    async fn resume_container(&self, id: &str) -> Result<()> {
        let work = lifecycle::resume_container(&self.core, id);
        self.within(Op::ResumeContainer, work).await
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
        let work = exec_calls::exec(&self.core, id, spec);
        self.within(Op::Exec, work).await
    }

    async fn exec_stream(&self, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
        let work = exec_calls::exec_stream(&self.core, id, spec);
        self.within(Op::ExecStream, work).await
    }

    async fn attach(&self, id: &str) -> Result<ProcessHandle> {
        let work = exec_calls::attach(&self.core, id);
        self.within(Op::Attach, work).await
    }

    async fn stream_logs(&self, id: &str, options: &LogOptions) -> Result<BoxStream<LogFrame>> {
        let work = logs::stream_logs(&self.core, id, options);
        self.within(Op::StreamLogs, work).await
    }

    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        let work = async { stats::container_stats(&self.core, id) };
        self.within(Op::ContainerStats, work).await
    }

    async fn stream_stats(&self, id: &str, interval_ms: u64) -> Result<BoxStream<ContainerStats>> {
        let work = async { stats::stream_stats(&self.core, id, interval_ms) };
        self.within(Op::StreamStats, work).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<BoxStream<Event>> {
        let work = async { events::events(&self.core, filter) };
        self.within(Op::Events, work).await
    }

    async fn copy_into(&self, id: &str, path: &str, archive: ByteStream) -> Result<()> {
        let work = files::copy_into(&self.core, id, path, archive);
        self.within(Op::CopyInto, work).await
    }

    async fn copy_from(&self, id: &str, path: &str) -> Result<ByteStream> {
        let work = files::copy_from(&self.core, id, path);
        self.within(Op::CopyFrom, work).await
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let work = async { self.core.volumes.list() };
        self.within(Op::ListVolumes, work).await
    }

    async fn get_volume(&self, id: &str) -> Result<Option<Volume>> {
        let work = async { self.core.volumes.get(id) };
        self.within(Op::GetVolume, work).await
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        let work = async { self.core.networks.list() };
        self.within(Op::ListNetworks, work).await
    }

    async fn get_network(&self, id: &str) -> Result<Option<Network>> {
        let work = async { self.core.networks.get(id) };
        self.within(Op::GetNetwork, work).await
    }

    async fn pull_image(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        let work = image_calls::pull_image(&self.core, request);
        self.within(Op::PullImage, work).await
    }

    async fn import_image(&self, options: &ImportOptions, archive: ByteStream) -> Result<Image> {
        let work = image_calls::import_image(&self.core, options, archive);
        self.within(Op::ImportImage, work).await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let work = image_calls::list_images(&self.core);
        self.within(Op::ListImages, work).await
    }

    async fn get_image(&self, reference: &str) -> Result<Option<Image>> {
        let work = image_calls::get_image(&self.core, reference);
        self.within(Op::GetImage, work).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        let work = image_calls::remove_image(&self.core, reference);
        self.within(Op::RemoveImage, work).await
    }

    async fn update_resources(&self, id: &str, limits: &ResourceLimits) -> Result<()> {
        let work = update::update_resources(&self.core, id, limits);
        self.within(Op::UpdateResources, work).await
    }

    async fn snapshot_container(&self, id: &str, reference: &str) -> Result<Image> {
        let work = image_calls::snapshot_container(&self.core, id, reference);
        self.within(Op::SnapshotContainer, work).await
    }

    async fn preflight(&self) -> Result<Preflight> {
        let work = async { Ok(self.core.host.preflight()) };
        self.within(Op::Preflight, work).await
    }

    async fn plan(&self, config: &ContainerConfig) -> Result<Plan> {
        let work = plan::plan(&self.core, config);
        self.within(Op::Plan, work).await
    }

    async fn recover(&self) -> Result<RecoveryReport> {
        let work = recover::recover(&self.core);
        self.within(Op::Recover, work).await
    }

    async fn reap(&self, policy: &ReapPolicy) -> Result<ReapReport> {
        let work = reap::reap(&self.core, policy);
        self.within(Op::Reap, work).await
    }

    async fn shutdown(&self, mode: ShutdownMode) -> Result<()> {
        if self.core.is_shut_down() {
            return Ok(());
        }
        let work = recover::shutdown(&self.core, mode);
        self.within(Op::Shutdown, work).await
    }
}
