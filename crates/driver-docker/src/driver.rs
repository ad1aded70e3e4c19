//! [`DockerDriver`]: the contract's trait, each method one line into the module of its subject.

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

use crate::engine::Engine;
use crate::options::DockerOptions;
use crate::{
    attach, capabilities, copy, create, events, exec, exec_stream, health, images, lifecycle, logs, networks,
    plan, preflight, query, reap, recovery, stats, update, volumes, wait,
};

/// Containers on a Docker Engine, or on Podman through the same API.
///
/// Clones share one engine, one cache and one order of calls. See the [crate's page](crate).
#[derive(Clone, Debug)]
pub struct DockerDriver {
    engine: Arc<Engine>,
}

impl DockerDriver {
    /// Opens a driver. Nothing is asked of the engine yet: it need not run, and `health_check` tells.
    ///
    /// # Errors
    ///
    /// A configuration error for an owner that is no name, or a Docker context that cannot be used.
    pub fn connect(options: DockerOptions) -> Result<Self> {
        Ok(Self {
            engine: Arc::new(Engine::new(options)?),
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ContainerDriver for DockerDriver {
    fn name(&self) -> &str {
        crate::DRIVER_NAME
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<ContainerInstance> {
        let work = create::create_container(&self.engine, config);
        self.engine.within(Op::CreateContainer, work).await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let work = lifecycle::start_container(&self.engine, id);
        self.engine.within(Op::StartContainer, work).await
    }

    async fn stop_container(&self, id: &str, options: &StopOptions) -> Result<()> {
        let work = lifecycle::stop_container(&self.engine, id, options);
        let grace = Duration::from_millis(options.effective_timeout());
        self.engine.within_extra(Op::StopContainer, grace, work).await
    }

    async fn remove_container(&self, id: &str, options: &RemoveOptions) -> Result<()> {
        let work = lifecycle::remove_container(&self.engine, id, options);
        self.engine.within(Op::RemoveContainer, work).await
    }

    async fn get_container(&self, id: &str) -> Result<Option<ContainerInstance>> {
        let work = query::get_container(&self.engine, id);
        self.engine.within(Op::GetContainer, work).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
        let work = query::list_containers(&self.engine, filter);
        self.engine.within(Op::ListContainers, work).await
    }

    async fn get_container_logs(&self, id: &str, options: &LogOptions) -> Result<String> {
        let work = logs::get_container_logs(&self.engine, id, options);
        self.engine.within(Op::GetContainerLogs, work).await
    }

    async fn health_check(&self) -> Result<DriverHealth> {
        health::health_check(&self.engine).await
    }

    async fn is_container_healthy(&self, id: &str) -> Result<bool> {
        let work = health::is_container_healthy(&self.engine, id);
        self.engine.within(Op::IsContainerHealthy, work).await
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<Volume> {
        let work = volumes::create_volume(&self.engine, config);
        self.engine.within(Op::CreateVolume, work).await
    }

    async fn remove_volume(&self, id: &str) -> Result<()> {
        let work = volumes::remove_volume(&self.engine, id);
        self.engine.within(Op::RemoveVolume, work).await
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<Network> {
        let work = networks::create_network(&self.engine, config);
        self.engine.within(Op::CreateNetwork, work).await
    }

    async fn remove_network(&self, id: &str) -> Result<()> {
        let work = networks::remove_network(&self.engine, id);
        self.engine.within(Op::RemoveNetwork, work).await
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        let work = capabilities::capabilities(&self.engine);
        self.engine.within(Op::Capabilities, work).await
    }

    async fn wait_container(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        let work = wait::wait_container(&self.engine, id, until);
        self.engine.within(Op::WaitContainer, work).await
    }

    async fn signal_container(&self, id: &str, signal: Signal) -> Result<()> {
        let work = lifecycle::signal_container(&self.engine, id, signal);
        self.engine.within(Op::SignalContainer, work).await
    }

    async fn pause_container(&self, id: &str) -> Result<()> {
        let work = lifecycle::pause_container(&self.engine, id);
        self.engine.within(Op::PauseContainer, work).await
    }

    async fn resume_container(&self, id: &str) -> Result<()> {
        let work = lifecycle::resume_container(&self.engine, id);
        self.engine.within(Op::ResumeContainer, work).await
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
        let work = exec::exec(&self.engine, id, spec);
        self.engine.within(Op::Exec, work).await
    }

    async fn exec_stream(&self, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
        let work = exec_stream::exec_stream(&self.engine, id, spec);
        self.engine.within(Op::ExecStream, work).await
    }

    async fn attach(&self, id: &str) -> Result<ProcessHandle> {
        let work = attach::attach(&self.engine, id);
        self.engine.within(Op::Attach, work).await
    }

    async fn stream_logs(&self, id: &str, options: &LogOptions) -> Result<BoxStream<LogFrame>> {
        let work = logs::stream_logs(&self.engine, id, options);
        self.engine.within(Op::StreamLogs, work).await
    }

    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        let work = stats::container_stats(&self.engine, id);
        self.engine.within(Op::ContainerStats, work).await
    }

    async fn stream_stats(&self, id: &str, interval_ms: u64) -> Result<BoxStream<ContainerStats>> {
        let work = stats::stream_stats(&self.engine, id, interval_ms);
        self.engine.within(Op::StreamStats, work).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<BoxStream<Event>> {
        let work = events::events(&self.engine, filter);
        self.engine.within(Op::Events, work).await
    }

    async fn copy_into(&self, id: &str, path: &str, archive: ByteStream) -> Result<()> {
        let work = copy::copy_into(&self.engine, id, path, archive);
        self.engine.within(Op::CopyInto, work).await
    }

    async fn copy_from(&self, id: &str, path: &str) -> Result<ByteStream> {
        let work = copy::copy_from(&self.engine, id, path);
        self.engine.within(Op::CopyFrom, work).await
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let work = volumes::list_volumes(&self.engine);
        self.engine.within(Op::ListVolumes, work).await
    }

    async fn get_volume(&self, id: &str) -> Result<Option<Volume>> {
        let work = volumes::get_volume(&self.engine, id);
        self.engine.within(Op::GetVolume, work).await
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        let work = networks::list_networks(&self.engine);
        self.engine.within(Op::ListNetworks, work).await
    }

    async fn get_network(&self, id: &str) -> Result<Option<Network>> {
        let work = networks::get_network(&self.engine, id);
        self.engine.within(Op::GetNetwork, work).await
    }

    async fn pull_image(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        let work = images::pull_image(&self.engine, request);
        self.engine.within(Op::PullImage, work).await
    }

    async fn import_image(&self, options: &ImportOptions, archive: ByteStream) -> Result<Image> {
        let work = images::import_image(&self.engine, options, archive);
        self.engine.within(Op::ImportImage, work).await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let work = images::list_images(&self.engine);
        self.engine.within(Op::ListImages, work).await
    }

    async fn get_image(&self, reference: &str) -> Result<Option<Image>> {
        let work = images::get_image(&self.engine, reference);
        self.engine.within(Op::GetImage, work).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        let work = images::remove_image(&self.engine, reference);
        self.engine.within(Op::RemoveImage, work).await
    }

    async fn update_resources(&self, id: &str, limits: &ResourceLimits) -> Result<()> {
        let work = update::update_resources(&self.engine, id, limits);
        self.engine.within(Op::UpdateResources, work).await
    }

    async fn snapshot_container(&self, id: &str, reference: &str) -> Result<Image> {
        let work = images::snapshot_container(&self.engine, id, reference);
        self.engine.within(Op::SnapshotContainer, work).await
    }

    async fn preflight(&self) -> Result<Preflight> {
        let work = preflight::preflight(&self.engine);
        self.engine.within(Op::Preflight, work).await
    }

    async fn plan(&self, config: &ContainerConfig) -> Result<Plan> {
        let work = plan::plan(&self.engine, config);
        self.engine.within(Op::Plan, work).await
    }

    async fn recover(&self) -> Result<RecoveryReport> {
        let work = recovery::recover(&self.engine);
        self.engine.within(Op::Recover, work).await
    }

    async fn reap(&self, policy: &ReapPolicy) -> Result<ReapReport> {
        let work = reap::reap(&self.engine, policy);
        self.engine.within(Op::Reap, work).await
    }

    async fn shutdown(&self, mode: ShutdownMode) -> Result<()> {
        if self.engine.is_shut_down() {
            return Ok(());
        }
        let work = recovery::shutdown(&self.engine, mode);
        self.engine.within(Op::Shutdown, work).await
    }
}
