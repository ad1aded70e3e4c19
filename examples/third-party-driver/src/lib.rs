//! `Audited`: wraps any container driver and writes down who-did-what for every call that changes something.
//!
//! Only a part of the contract is offered: no pausing, no events, no statistics, no live updates, no snapshots. Those
//! calls are answered by the default methods of the trait ("unsupported"), so all there is to do is not to claim
//! them in `capabilities()`.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use driver_types::*;

/// The driver. See the crate's documentation.
#[derive(Debug)]
pub struct Audited {
    backend: Arc<dyn ContainerDriver>,
    trail: Mutex<VecDeque<String>>,
}

/// Older lines are thrown away.
const MAX_LINES: usize = 1000;

/// What the backend may be able to do, but we do not offer.
const NOT_OFFERED: &[Capability] = &[
    Capability::Events,
    Capability::Pause,
    Capability::Plan,
    Capability::Preflight,
    Capability::Reap,
    Capability::Recover,
    Capability::Shutdown,
    Capability::Snapshot,
    Capability::Stats,
    Capability::StreamLogs,
    Capability::UpdateResources,
];

impl Audited {
    pub fn new(backend: Arc<dyn ContainerDriver>) -> Audited {
        Audited {
            backend,
            trail: Mutex::default(),
        }
    }

    /// The last thousand changes, oldest first, like `start_container 3f2a: ok`.
    pub fn trail(&self) -> Vec<String> {
        self.lines().iter().cloned().collect()
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.trail.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write<T>(&self, action: &str, object: impl Display, result: Result<T>) -> Result<T> {
        let outcome = match &result {
            Ok(_) => "ok",
            // The code only: messages may quote what the caller sent.
            Err(error) => error.code(),
        };
        let mut lines = self.lines();
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(format!("{action} {object}: {outcome}"));
        result
    }
}

#[async_trait]
impl ContainerDriver for Audited {
    fn name(&self) -> &str {
        self.backend.name()
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        let offered = self.backend.capabilities().await?;
        let not_offered = NOT_OFFERED.iter();
        Ok(not_offered.fold(offered, |all, one| {
            all.with(*one, Support::none("not audited yet"))
        }))
    }

    // ---- containers ----

    async fn create_container(&self, config: &ContainerConfig) -> Result<ContainerInstance> {
        let result = self.backend.create_container(config).await;
        self.write("create_container", &config.session_id, result)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.write("start_container", id, self.backend.start_container(id).await)
    }

    async fn stop_container(&self, id: &str, options: &StopOptions) -> Result<()> {
        self.write(
            "stop_container",
            id,
            self.backend.stop_container(id, options).await,
        )
    }

    async fn remove_container(&self, id: &str, options: &RemoveOptions) -> Result<()> {
        self.write(
            "remove_container",
            id,
            self.backend.remove_container(id, options).await,
        )
    }

    async fn signal_container(&self, id: &str, signal: Signal) -> Result<()> {
        self.write(
            "signal_container",
            id,
            self.backend.signal_container(id, signal).await,
        )
    }

    async fn get_container(&self, id: &str) -> Result<Option<ContainerInstance>> {
        self.backend.get_container(id).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
        self.backend.list_containers(filter).await
    }

    async fn get_container_logs(&self, id: &str, options: &LogOptions) -> Result<String> {
        self.backend.get_container_logs(id, options).await
    }

    async fn wait_container(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        self.backend.wait_container(id, until).await
    }

    async fn health_check(&self) -> Result<DriverHealth> {
        self.backend.health_check().await
    }

    async fn is_container_healthy(&self, id: &str) -> Result<bool> {
        self.backend.is_container_healthy(id).await
    }

    // ---- processes and files ----

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
        self.write("exec", id, self.backend.exec(id, spec).await)
    }

    async fn exec_stream(&self, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
        self.write("exec_stream", id, self.backend.exec_stream(id, spec).await)
    }

    async fn attach(&self, id: &str) -> Result<ProcessHandle> {
        self.write("attach", id, self.backend.attach(id).await)
    }

    async fn copy_into(&self, id: &str, path: &str, archive: ByteStream) -> Result<()> {
        self.write("copy_into", id, self.backend.copy_into(id, path, archive).await)
    }

    async fn copy_from(&self, id: &str, path: &str) -> Result<ByteStream> {
        self.backend.copy_from(id, path).await
    }

    // ---- volumes, networks, images ----

    async fn create_volume(&self, config: &VolumeConfig) -> Result<Volume> {
        self.write(
            "create_volume",
            &config.name,
            self.backend.create_volume(config).await,
        )
    }

    async fn remove_volume(&self, id: &str) -> Result<()> {
        self.write("remove_volume", id, self.backend.remove_volume(id).await)
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.backend.list_volumes().await
    }

    async fn get_volume(&self, id: &str) -> Result<Option<Volume>> {
        self.backend.get_volume(id).await
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<Network> {
        self.write(
            "create_network",
            &config.name,
            self.backend.create_network(config).await,
        )
    }

    async fn remove_network(&self, id: &str) -> Result<()> {
        self.write("remove_network", id, self.backend.remove_network(id).await)
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.backend.list_networks().await
    }

    async fn get_network(&self, id: &str) -> Result<Option<Network>> {
        self.backend.get_network(id).await
    }

    async fn pull_image(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        self.write(
            "pull_image",
            &request.reference,
            self.backend.pull_image(request).await,
        )
    }

    async fn import_image(&self, options: &ImportOptions, archive: ByteStream) -> Result<Image> {
        self.write(
            "import_image",
            &options.reference,
            self.backend.import_image(options, archive).await,
        )
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        self.backend.list_images().await
    }

    async fn get_image(&self, reference: &str) -> Result<Option<Image>> {
        self.backend.get_image(reference).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.write(
            "remove_image",
            reference,
            self.backend.remove_image(reference).await,
        )
    }
}
