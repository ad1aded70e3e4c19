//! The operations of the contract, each as a call to the simulated engine.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use driver_types::{
    BoxStream, ByteStream, Capabilities, ContainerConfig, ContainerDriver, ContainerFilter,
    ContainerInstance, ContainerStats, DriverHealth, Event, EventFilter, ExecResult, ExecSpec, ExitInfo,
    Image, ImportOptions, LogFrame, LogOptions, Network, NetworkConfig, Operation as Op, Plan, Preflight,
    ProcessHandle, PullProgress, PullRequest, ReapPolicy, ReapReport, RecoveryReport, RemoveOptions,
    ResourceLimits, Result, ShutdownMode, Signal, StopOptions, Volume, VolumeConfig, WaitCondition,
};

use super::MockDriver;

const NO_MORE: Duration = Duration::ZERO;

impl MockDriver {
    fn unless_unsupported(&self, operation: Op) -> Result<()> {
        match operation.info().capability {
            Some(capability) if !self.capabilities.supports(capability) => Err(
                driver_types::DriverError::unsupported(operation.name(), self.world.profile.name()),
            ),
            _ => Ok(()),
        }
    }
}

/// One call of an operation that answers at once.
macro_rules! call {
    ($self:ident, $operation:ident, $effect:expr) => {{
        let effect = pin!(async {
            $self.unless_unsupported(Op::$operation)?;
            $effect
        });
        $self.call(Op::$operation, NO_MORE, effect).await
    }};
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ContainerDriver for MockDriver {
    fn name(&self) -> &str {
        self.world.profile.name()
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<ContainerInstance> {
        self.call_with(Op::CreateContainer, NO_MORE, |partial| {
            self.do_create(config, partial)
        })
        .await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        call!(self, StartContainer, self.do_start(id).await)
    }

    async fn stop_container(&self, id: &str, options: &StopOptions) -> Result<()> {
        let grace = Duration::from_millis(options.effective_timeout());
        let effect = pin!(self.do_stop(id, options));
        self.call(Op::StopContainer, grace, effect).await
    }

    async fn remove_container(&self, id: &str, options: &RemoveOptions) -> Result<()> {
        call!(self, RemoveContainer, self.do_remove(id, options).await)
    }

    async fn get_container(&self, id: &str) -> Result<Option<ContainerInstance>> {
        call!(self, GetContainer, Ok(self.do_get(id)))
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
        call!(self, ListContainers, Ok(self.do_list(filter)))
    }

    async fn get_container_logs(&self, id: &str, options: &LogOptions) -> Result<String> {
        call!(self, GetContainerLogs, self.do_logs(id, options).await)
    }

    async fn health_check(&self) -> Result<DriverHealth> {
        let checked = call!(self, HealthCheck, Ok(self.do_health()));
        // An engine that cannot be reached is an answer, not an error.
        match checked {
            Err(_) if self.world.calls.is_down() => Ok(self.do_health()),
            checked => checked,
        }
    }

    async fn is_container_healthy(&self, id: &str) -> Result<bool> {
        call!(self, IsContainerHealthy, self.do_is_healthy(id))
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<Volume> {
        call!(self, CreateVolume, self.do_create_volume(config))
    }

    async fn remove_volume(&self, id: &str) -> Result<()> {
        call!(self, RemoveVolume, self.do_remove_volume(id))
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<Network> {
        call!(self, CreateNetwork, self.do_create_network(config))
    }

    async fn remove_network(&self, id: &str) -> Result<()> {
        call!(self, RemoveNetwork, self.do_remove_network(id))
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        // Known without the engine.
        Ok(self.capabilities.clone())
    }

    async fn wait_container(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        call!(self, WaitContainer, self.do_wait(id, until).await)
    }

    async fn signal_container(&self, id: &str, signal: Signal) -> Result<()> {
        call!(self, SignalContainer, self.do_signal(id, signal).await)
    }

    async fn pause_container(&self, id: &str) -> Result<()> {
        call!(self, PauseContainer, self.do_pause(id, true).await)
    }

    async fn resume_container(&self, id: &str) -> Result<()> {
        call!(self, ResumeContainer, self.do_pause(id, false).await)
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
        call!(self, Exec, self.do_exec(id, spec).await)
    }

    async fn exec_stream(&self, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
        call!(self, ExecStream, self.do_exec_stream(id, spec).await)
    }

    async fn attach(&self, id: &str) -> Result<ProcessHandle> {
        call!(self, Attach, self.do_attach(id).await)
    }

    async fn stream_logs(&self, id: &str, options: &LogOptions) -> Result<BoxStream<LogFrame>> {
        call!(self, StreamLogs, self.do_stream_logs(id, options).await)
    }

    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        call!(self, ContainerStats, self.do_stats(id))
    }

    async fn stream_stats(&self, id: &str, interval_ms: u64) -> Result<BoxStream<ContainerStats>> {
        call!(self, StreamStats, self.do_stream_stats(id, interval_ms))
    }

    async fn events(&self, filter: &EventFilter) -> Result<BoxStream<Event>> {
        call!(self, Events, {
            driver_validation::validate_event_filter(filter)?;
            Ok(self.world.listen(&self.owner, filter.clone()))
        })
    }

    async fn copy_into(&self, id: &str, path: &str, archive: ByteStream) -> Result<()> {
        call!(self, CopyInto, self.do_copy_into(id, path, archive).await)
    }

    async fn copy_from(&self, id: &str, path: &str) -> Result<ByteStream> {
        call!(self, CopyFrom, self.do_copy_from(id, path).await)
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        call!(self, ListVolumes, Ok(self.do_list_volumes()))
    }

    async fn get_volume(&self, id: &str) -> Result<Option<Volume>> {
        call!(self, GetVolume, Ok(self.world.volumes.get(self.scope(), id)))
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        call!(self, ListNetworks, Ok(self.do_list_networks()))
    }

    async fn get_network(&self, id: &str) -> Result<Option<Network>> {
        call!(self, GetNetwork, Ok(self.world.networks.get(self.scope(), id)))
    }

    async fn pull_image(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        call!(self, PullImage, self.do_pull(request))
    }

    async fn import_image(&self, options: &ImportOptions, archive: ByteStream) -> Result<Image> {
        call!(self, ImportImage, self.do_import(options, archive).await)
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        call!(self, ListImages, Ok(self.do_list_images()))
    }

    async fn get_image(&self, reference: &str) -> Result<Option<Image>> {
        call!(self, GetImage, Ok(self.do_get_image(reference)))
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        call!(self, RemoveImage, self.do_remove_image(reference))
    }

    async fn update_resources(&self, id: &str, limits: &ResourceLimits) -> Result<()> {
        call!(self, UpdateResources, self.do_update(id, limits).await)
    }

    async fn snapshot_container(&self, id: &str, reference: &str) -> Result<Image> {
        call!(self, SnapshotContainer, self.do_snapshot(id, reference).await)
    }

    async fn preflight(&self) -> Result<Preflight> {
        // Whether the engine can be reached is one of its answers.
        Ok(self.world.profile.preflight(!self.world.calls.is_down()))
    }

    async fn plan(&self, config: &ContainerConfig) -> Result<Plan> {
        call!(self, Plan, self.do_plan(config))
    }

    async fn recover(&self) -> Result<RecoveryReport> {
        call!(self, Recover, Ok(self.do_recover()))
    }

    async fn reap(&self, policy: &ReapPolicy) -> Result<ReapReport> {
        call!(self, Reap, self.do_reap(policy).await)
    }

    async fn shutdown(&self, mode: ShutdownMode) -> Result<()> {
        call!(self, Shutdown, self.do_shutdown(mode).await)
    }
}
