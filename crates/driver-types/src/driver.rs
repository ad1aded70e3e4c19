//! The contract: [`ContainerDriver`].

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use driver_errors::{DriverError, Result};
use futures_core::Stream;

use crate::{
    Capabilities, ContainerConfig, ContainerFilter, ContainerInstance, ContainerStats, DriverHealth, Event,
    EventFilter, ExecResult, ExecSpec, ExitInfo, Image, ImportOptions, LogFrame, LogOptions, Network,
    NetworkConfig, Operation, Plan, Preflight, ProcessHandle, PullProgress, PullRequest, ReapPolicy,
    ReapReport, RecoveryReport, RemoveOptions, ResourceLimits, ShutdownMode, Signal, StopOptions, Volume,
    VolumeConfig, WaitCondition,
};

/// A stream of results. Dropping it ends whatever feeds it.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// A stream of bytes, in pieces of any size.
pub type ByteStream = BoxStream<Bytes>;

/// Runs untrusted code in containers, the same on every engine.
///
/// # Contract
///
/// - **Ids.** Operations on containers take the full id that `create_container` returned; an id that is unknown, or
///   belongs to another owner, is `CONTAINER_NOT_FOUND` (`errors::unknown_id_*`). Volumes and networks are found by
///   id or name.
/// - **Owner.** A driver is opened for an owner (`default` unless said). Only that owner's objects are listed, changed
///   or removed (`recovery::other_owner_is_invisible`).
/// - **States.** [`ContainerStatus::transition`](crate::ContainerStatus::transition) says which operation is legal
///   when; everything else is `INVALID_STATE` with the legal statuses (`state::*`).
/// - **Order.** State-changing calls on one container run one after another, in the order of arrival; reads do not
///   wait for them (`concurrency::*`).
/// - **Cancelling.** Dropping a future is safe: the call has either happened, not happened, or is finished in the
///   background; nothing half-made stays behind (`cleanup::dropped_create_leaves_nothing`).
/// - **Deadlines.** A driver's options set one for each operation; the error is `TIMEOUT_ERROR`
///   (`errors::deadline_names_the_operation`).
/// - **Refusals.** What [`capabilities`](Self::capabilities) does not declare is refused without any side effect,
///   never ignored (`capabilities::*`).
///
/// # Implementing
///
/// The first thirteen operations and [`capabilities`](Self::capabilities) are required. The rest answers
/// `UNSUPPORTED_OPERATION` until it is overridden; declare what you override. Wrappers forward every method: put
/// `#[deny(clippy::missing_trait_methods)]` on their implementation. Then run the conformance suite.
#[async_trait]
pub trait ContainerDriver: fmt::Debug + Send + Sync + 'static {
    /// The driver's name, for example `docker`. Constant.
    fn name(&self) -> &str;

    /// The driver's version. Constant.
    fn version(&self) -> &str;

    /// Makes a container without starting it. Always available.
    ///
    /// # Behaviour
    ///
    /// - Returns an instance in status `created` (`create::returns_created`).
    /// - All violations of the config are reported at once, each with a JSON pointer
    ///   (`config::reports_all_violations`).
    /// - A field whose capability is missing is a configuration error that names the field
    ///   (`capabilities::missing_capability_refuses_the_field`).
    /// - More than the driver's capacity is `RESOURCE_LIMIT_EXCEEDED` (`limits::cpu_over_capacity`).
    /// - A repeat with the same `requestId` and an equal config returns the same container
    ///   (`idempotence::create_with_request_id`); with another config it is a configuration error
    ///   (`idempotence::request_id_with_another_config`).
    /// - A taken name is `CONTAINER_CREATION_FAILED`, not retryable (`create::taken_name`).
    /// - A missing image under `pullPolicy: never` is `IMAGE_NOT_FOUND` (`images::missing_image_never`).
    /// - A name is never taken for a path (`escape::names_of_containers_are_no_paths`), nor a working directory for a way
    ///   out (`escape::working_dir_through_descriptors`).
    /// - A failure, or dropping the future, leaves nothing behind (`cleanup::failed_create_leaves_nothing`,
    ///   `cleanup::dropped_create_leaves_nothing`).
    async fn create_container(&self, config: &ContainerConfig) -> Result<ContainerInstance>;

    /// Starts the main process. Always available.
    ///
    /// # Behaviour
    ///
    /// - Returns when the process runs (`start::returns_when_running`).
    /// - Starting a running container does nothing (`idempotence::start_running`).
    /// - A stopped or exited container begins a new run: `startedAt` is new, `exit` is cleared, `restarts` grows by one
    ///   (`start::new_run_after_exit`).
    /// - A missing program is `CONTAINER_START_FAILED` with exit code 127, one that is not executable with 126; a
    ///   retry cannot help (`start::missing_program`, `start::not_executable`).
    /// - After a failed start the container is back in its former state and can be started again
    ///   (`start::failed_start_can_be_repeated`).
    async fn start_container(&self, id: &str) -> Result<()>;

    /// Stops the main process: a signal, then SIGKILL when the time is over. Always available.
    ///
    /// # Behaviour
    ///
    /// - Returns only when the process is gone (`stop::returns_when_gone`).
    /// - Sends `stopSignal`, or the signal of the options (`stop::sends_stop_signal`, `stop::signal_of_options`).
    /// - After the time-out it kills (`stop::kills_after_timeout`); time-out 0 and `force` kill at once
    ///   (`stop::timeout_zero_kills`, `stop::force_kills`).
    /// - Stopping what does not run does nothing (`idempotence::stop_stopped`, `idempotence::stop_created`).
    /// - A paused container is stopped (`stop::paused_container`).
    async fn stop_container(&self, id: &str, options: &StopOptions) -> Result<()>;

    /// Removes a container with its writable layer, logs and every kernel object. Always available.
    ///
    /// # Behaviour
    ///
    /// - A live container is refused without `force` (`remove::running_is_refused`), and killed with it
    ///   (`remove::force_kills`).
    /// - An unknown id is `CONTAINER_NOT_FOUND`, or fine with `ignoreMissing` (`remove::unknown_id`,
    ///   `remove::ignore_missing`).
    /// - Named volumes stay (`remove::named_volumes_stay`).
    async fn remove_container(&self, id: &str, options: &RemoveOptions) -> Result<()>;

    /// A snapshot of one container; `None` where there is none. Always available.
    ///
    /// # Behaviour
    ///
    /// - An unknown id is `None` (`query::get_unknown_is_none`).
    /// - The snapshot does not change afterwards (`query::snapshot_does_not_change`).
    async fn get_container(&self, id: &str) -> Result<Option<ContainerInstance>>;

    /// Snapshots of all containers that pass the filter, oldest first. Always available.
    ///
    /// # Behaviour
    ///
    /// - Conditions are ANDed (`query::filters_are_anded`); order is oldest first (`query::list_oldest_first`).
    /// - Containers of other owners are not listed unless `allOwners` is set (`recovery::other_owner_is_invisible`).
    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>>;

    /// The logs as text, in order of arrival; bytes that are not UTF-8 become U+FFFD. Always available.
    ///
    /// # Behaviour
    ///
    /// - Works in every status (`logs::in_every_status`); a container that never ran has none.
    /// - `tail` 0 gives an empty string (`logs::tail_zero`).
    /// - `follow` is a configuration error that points to `stream_logs` (`logs::follow_is_refused`).
    async fn get_container_logs(&self, id: &str, options: &LogOptions) -> Result<String>;

    /// Whether the engine answers. Always available.
    ///
    /// # Behaviour
    ///
    /// - An engine that cannot be reached is `Ok` with status `unhealthy` and an error text; only a broken reply is an
    ///   error (`health::driver_is_healthy`, `health::unreachable_engine_is_unhealthy`).
    async fn health_check(&self) -> Result<DriverHealth>;

    /// Whether a container runs and its health check, if any, is not `unhealthy`. Always available.
    ///
    /// # Behaviour
    ///
    /// - False when it does not run (`health::not_running_is_not_healthy`).
    /// - An unknown id is `CONTAINER_NOT_FOUND` (`errors::unknown_id_is_container_healthy`).
    async fn is_container_healthy(&self, id: &str) -> Result<bool>;

    /// Makes a volume. Always available.
    ///
    /// # Behaviour
    ///
    /// - The name and spec of an existing volume return that one (`volumes::create_same_again`); another spec is
    ///   `VOLUME_CREATION_FAILED` (`volumes::create_with_another_spec`).
    async fn create_volume(&self, config: &VolumeConfig) -> Result<Volume>;

    /// Removes a volume by id or name, with its content. Always available.
    ///
    /// # Behaviour
    ///
    /// - A volume of any container, running or not, is in use: `VOLUME_REMOVE_FAILED` (`volumes::remove_in_use`).
    /// - An unknown one is `VOLUME_NOT_FOUND` (`volumes::remove_unknown`).
    async fn remove_volume(&self, id: &str) -> Result<()>;

    /// Makes a network. Always available.
    ///
    /// # Behaviour
    ///
    /// - The name and spec of an existing network return that one (`networks::create_same_again`); another spec is
    ///   `NETWORK_CREATION_FAILED` (`networks::create_with_another_spec`).
    async fn create_network(&self, config: &NetworkConfig) -> Result<Network>;

    /// Removes a network by id or name. Always available.
    ///
    /// # Behaviour
    ///
    /// - A network of any container, running or not, is in use: `NETWORK_REMOVE_FAILED` (`networks::remove_in_use`).
    /// - An unknown one is `NETWORK_NOT_FOUND` (`networks::remove_unknown`).
    async fn remove_network(&self, id: &str) -> Result<()>;

    /// What the driver can do on this host. The same answer for the life of the driver. Always available.
    ///
    /// # Behaviour
    ///
    /// - What is declared works; what is not is refused without a side effect (`capabilities::*`).
    async fn capabilities(&self) -> Result<Capabilities>;

    /// Waits until a run has ended, or the container is gone. Requires [`Capability::Wait`](crate::Capability::Wait).
    ///
    /// # Behaviour
    ///
    /// - Resolves at once when it has already happened (`wait::already_ended`), for any number of waiters
    ///   (`wait::many_waiters`).
    /// - Log bytes written before the exit are readable before it resolves (`wait::logs_are_complete`).
    /// - A container that was never started: waits for its first run (`wait::created_waits_for_a_run`).
    /// - A container removed meanwhile: reason `removed` (`wait::removed_while_waiting`).
    async fn wait_container(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        let _ = (id, until);
        Err(unsupported(self.name(), Operation::WaitContainer))
    }

    /// Sends a signal to the main process. Requires [`Capability::Signal`](crate::Capability::Signal).
    ///
    /// # Behaviour
    ///
    /// - Works while it runs; in any other status it is `INVALID_STATE` (`signal::delivers`, `signal::not_running`).
    async fn signal_container(&self, id: &str, signal: Signal) -> Result<()> {
        let _ = (id, signal);
        Err(unsupported(self.name(), Operation::SignalContainer))
    }

    /// Freezes all processes. Requires [`Capability::Pause`](crate::Capability::Pause).
    ///
    /// # Behaviour
    ///
    /// - Nothing runs inside until `resume_container` (`pause::freezes`); a repeat does nothing
    ///   (`idempotence::pause_paused`).
    async fn pause_container(&self, id: &str) -> Result<()> {
        let _ = id;
        Err(unsupported(self.name(), Operation::PauseContainer))
    }

    /// Lets frozen processes go on. Requires [`Capability::Pause`](crate::Capability::Pause).
    ///
    /// # Behaviour
    ///
    /// - The processes go on where they were (`pause::resume_goes_on`); on a running container it does nothing
    ///   (`idempotence::resume_running`).
    async fn resume_container(&self, id: &str) -> Result<()> {
        let _ = id;
        Err(unsupported(self.name(), Operation::ResumeContainer))
    }

    /// Runs a process in a running container to its end. Requires [`Capability::Exec`](crate::Capability::Exec).
    ///
    /// # Behaviour
    ///
    /// - A non-zero exit is a result, not an error (`exec::nonzero_exit_is_a_result`); a missing program is 127, one
    ///   that is not executable 126 (`exec::missing_program`, `exec::not_executable`).
    /// - On time-out the whole tree of the process is killed inside the container, TERM then KILL; the container goes
    ///   on, and the result says `timedOut` (`exec::timeout_kills_the_tree`).
    /// - Dropping the future kills the tree as well (`exec::dropped_future_kills_the_tree`).
    /// - Output beyond the cap is dropped and flagged (`exec::output_cap`).
    /// - In any other status than running it is `INVALID_STATE` (`exec::not_running`).
    /// - An unknown user is `EXEC_START_FAILED` (`exec::unknown_user`).
    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
        let _ = (id, spec);
        Err(unsupported(self.name(), Operation::Exec))
    }

    /// Starts a process in a running container and returns a handle. Requires
    /// [`Capability::ExecStream`](crate::Capability::ExecStream).
    ///
    /// # Behaviour
    ///
    /// - Frames come as they are written, the exit last (`exec_stream::frames_then_exit`).
    /// - Dropping the handle kills the tree (`exec_stream::drop_kills_the_tree`) unless it was detached
    ///   (`exec_stream::detached_lives_on`).
    async fn exec_stream(&self, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
        let _ = (id, spec);
        Err(unsupported(self.name(), Operation::ExecStream))
    }

    /// A handle on the main process: its output from now on, its stdin if the config keeps it open. Requires
    /// [`Capability::Attach`](crate::Capability::Attach).
    ///
    /// # Behaviour
    ///
    /// - Closing the handle does not stop the container (`attach::close_does_not_stop`).
    /// - On a created container it waits for the first output; ended: `INVALID_STATE` (`attach::before_start`,
    ///   `attach::ended`).
    async fn attach(&self, id: &str) -> Result<ProcessHandle> {
        let _ = id;
        Err(unsupported(self.name(), Operation::Attach))
    }

    /// The logs as frames, in order of arrival. Requires [`Capability::StreamLogs`](crate::Capability::StreamLogs).
    ///
    /// # Behaviour
    ///
    /// - `follow` ends when the container ends (`logs::follow_ends_with_the_container`).
    /// - Bytes are exact, whatever they are (`logs::hostile_bytes`).
    async fn stream_logs(&self, id: &str, options: &LogOptions) -> Result<BoxStream<LogFrame>> {
        let _ = (id, options);
        Err(unsupported(self.name(), Operation::StreamLogs))
    }

    /// One reading of what a live container uses. Requires [`Capability::Stats`](crate::Capability::Stats).
    ///
    /// # Behaviour
    ///
    /// - A counter that the engine lacks is absent, never 0 (`stats::memory_and_pids`).
    /// - Not running and not paused: `INVALID_STATE` (`stats::not_running`).
    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        let _ = id;
        Err(unsupported(self.name(), Operation::ContainerStats))
    }

    /// A reading every `interval_ms` milliseconds (at least 100), the first at once. Requires
    /// [`Capability::Stats`](crate::Capability::Stats).
    ///
    /// # Behaviour
    ///
    /// - Ends when the container ends (`stats::stream_ends_with_the_container`).
    async fn stream_stats(&self, id: &str, interval_ms: u64) -> Result<BoxStream<ContainerStats>> {
        let _ = (id, interval_ms);
        Err(unsupported(self.name(), Operation::StreamStats))
    }

    /// What happens from now on to the owner's objects. Requires [`Capability::Events`](crate::Capability::Events).
    ///
    /// # Behaviour
    ///
    /// - In order per container (`events::order_of_a_life`).
    /// - A reader that is too slow gets `lagged` and must list again (`events::slow_reader_gets_lagged`).
    async fn events(&self, filter: &EventFilter) -> Result<BoxStream<Event>> {
        let _ = filter;
        Err(unsupported(self.name(), Operation::Events))
    }

    /// Unpacks a tar stream under a directory of a container. Requires [`Capability::Copy`](crate::Capability::Copy).
    ///
    /// # Behaviour
    ///
    /// - In created, running and stopped or exited containers (`files::copy_into_created`, `files::copy_into_stopped`).
    /// - Resolved inside the container's root, never through a symlink that leads out
    ///   (`files::symlink_does_not_escape`, `escape::copy_through_swapped_links`), whatever the names and links of the
    ///   archive say (`escape::copy_through_*`).
    /// - No program or library of the container's is used for it (`escape::libraries_of_an_image_are_not_loaded`).
    /// - A missing directory, an entry that leads out, or a read-only target is `FILE_SYSTEM_ERROR`
    ///   (`files::missing_directory`, `files::entry_with_dot_dot`, `files::read_only_root`).
    async fn copy_into(&self, id: &str, path: &str, archive: ByteStream) -> Result<()> {
        let _ = (id, path, archive);
        Err(unsupported(self.name(), Operation::CopyInto))
    }

    /// A file or directory of a container as a tar stream; its entries begin with the last part of `path`. Requires
    /// [`Capability::Copy`](crate::Capability::Copy).
    ///
    /// # Behaviour
    ///
    /// - Bytes are exact (`files::binary_round_trip`); a missing path is `FILE_SYSTEM_ERROR` (`files::missing_path`).
    /// - Never through a symlink that leads out, also one that is swapped meanwhile
    ///   (`escape::copy_through_swapped_links`).
    async fn copy_from(&self, id: &str, path: &str) -> Result<ByteStream> {
        let _ = (id, path);
        Err(unsupported(self.name(), Operation::CopyFrom))
    }

    /// The owner's volumes, by name. Requires [`Capability::Volumes`](crate::Capability::Volumes).
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        Err(unsupported(self.name(), Operation::ListVolumes))
    }

    /// A volume by id or name; `None` where there is none. Requires [`Capability::Volumes`](crate::Capability::Volumes).
    async fn get_volume(&self, id: &str) -> Result<Option<Volume>> {
        let _ = id;
        Err(unsupported(self.name(), Operation::GetVolume))
    }

    /// The owner's networks, by name. Requires [`Capability::Networks`](crate::Capability::Networks).
    async fn list_networks(&self) -> Result<Vec<Network>> {
        Err(unsupported(self.name(), Operation::ListNetworks))
    }

    /// A network by id or name; `None` where there is none. Requires [`Capability::Networks`](crate::Capability::Networks).
    async fn get_network(&self, id: &str) -> Result<Option<Network>> {
        let _ = id;
        Err(unsupported(self.name(), Operation::GetNetwork))
    }

    /// Pulls an image. Requires [`Capability::PullImage`](crate::Capability::PullImage).
    ///
    /// # Behaviour
    ///
    /// - The last item has the image (`images::pull_ends_with_the_image`).
    /// - Pulls of one reference with the same credentials at the same time are done once (`images::pull_single_flight`).
    /// - A pull goes on for the readers that stay, and one that was given up spoils no later one
    ///   (`images::pull_goes_on_without_a_reader_that_left`).
    /// - Unknown to the registry: `IMAGE_NOT_FOUND` (`images::pull_unknown`).
    async fn pull_image(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        let _ = request;
        Err(unsupported(self.name(), Operation::PullImage))
    }

    /// Makes an image of the tar of a root file system. Requires
    /// [`Capability::ImportImage`](crate::Capability::ImportImage).
    ///
    /// # Behaviour
    ///
    /// - Containers can be made of it (`images::import_and_run`); a repeat moves the reference
    ///   (`images::import_again_moves_the_reference`).
    /// - The archive may be a stranger's: nothing of it lands outside (`escape::import_through_*`), its devices are of no
    ///   use (`escape::device_nodes_of_an_image_are_closed`), and a bomb is `FILE_SYSTEM_ERROR`
    ///   (`escape::a_compressed_bomb`).
    async fn import_image(&self, options: &ImportOptions, archive: ByteStream) -> Result<Image> {
        let _ = (options, archive);
        Err(unsupported(self.name(), Operation::ImportImage))
    }

    /// All images that the driver has. Requires [`Capability::Images`](crate::Capability::Images).
    async fn list_images(&self) -> Result<Vec<Image>> {
        Err(unsupported(self.name(), Operation::ListImages))
    }

    /// An image by reference or id; `None` where there is none. Requires [`Capability::Images`](crate::Capability::Images).
    async fn get_image(&self, reference: &str) -> Result<Option<Image>> {
        let _ = reference;
        Err(unsupported(self.name(), Operation::GetImage))
    }

    /// Removes an image by reference or id. Requires [`Capability::Images`](crate::Capability::Images).
    ///
    /// # Behaviour
    ///
    /// - Unknown: `IMAGE_NOT_FOUND` (`images::remove_unknown`). In use by a container: a configuration error that names
    ///   it (`images::remove_in_use`).
    async fn remove_image(&self, reference: &str) -> Result<()> {
        let _ = reference;
        Err(unsupported(self.name(), Operation::RemoveImage))
    }

    /// Changes the limits of a container, all or nothing. Requires
    /// [`Capability::UpdateResources`](crate::Capability::UpdateResources).
    ///
    /// # Behaviour
    ///
    /// - Live, and seen by `get_container` (`limits::update_is_live`). A limit that cannot be changed is a configuration
    ///   error, and nothing has changed (`limits::update_is_all_or_nothing`).
    async fn update_resources(&self, id: &str, limits: &ResourceLimits) -> Result<()> {
        let _ = (id, limits);
        Err(unsupported(self.name(), Operation::UpdateResources))
    }

    /// Makes an image of a container's root file system, under a reference. Requires
    /// [`Capability::Snapshot`](crate::Capability::Snapshot).
    ///
    /// # Behaviour
    ///
    /// - `create_container` can use it (`images::snapshot_and_run`). What is in volumes and tmpfs is not in it.
    async fn snapshot_container(&self, id: &str, reference: &str) -> Result<Image> {
        let _ = (id, reference);
        Err(unsupported(self.name(), Operation::SnapshotContainer))
    }

    /// What the host has and lacks, with remedies. Changes nothing. Requires
    /// [`Capability::Preflight`](crate::Capability::Preflight).
    async fn preflight(&self) -> Result<Preflight> {
        Err(unsupported(self.name(), Operation::Preflight))
    }

    /// What `create_container` would do with a config. Changes nothing. Requires
    /// [`Capability::Plan`](crate::Capability::Plan).
    ///
    /// # Behaviour
    ///
    /// - An invalid config is the same error as of `create_container`; a valid one that is refused for a missing
    ///   capability is a plan that is not feasible (`capabilities::plan_tells_refusals`,
    ///   `capabilities::plan_has_no_side_effect`).
    async fn plan(&self, config: &ContainerConfig) -> Result<Plan> {
        let _ = config;
        Err(unsupported(self.name(), Operation::Plan))
    }

    /// After a crash of the process that had the driver: adopts what still runs, collects exits that happened
    /// meanwhile, and reports half-made objects. A repeat does no harm. Requires
    /// [`Capability::Recover`](crate::Capability::Recover).
    ///
    /// # Behaviour
    ///
    /// - `recovery::adopts_running`, `recovery::collects_exits`, `recovery::repeat_is_harmless`.
    async fn recover(&self) -> Result<RecoveryReport> {
        Err(unsupported(self.name(), Operation::Recover))
    }

    /// Removes what has expired or has no owner; never what does not carry the drivers' labels. Requires
    /// [`Capability::Reap`](crate::Capability::Reap).
    ///
    /// # Behaviour
    ///
    /// - `recovery::reap_expired`, `recovery::reap_dead_session`, `recovery::reap_dry_run`,
    ///   `recovery::reap_spares_the_young`.
    async fn reap(&self, policy: &ReapPolicy) -> Result<ReapReport> {
        let _ = policy;
        Err(unsupported(self.name(), Operation::Reap))
    }

    /// Ends the driver's work and leaves, stops or removes the owner's containers. Later calls on this driver are
    /// `NETWORK_ERROR`, not retryable; a repeat of `shutdown` does nothing. Requires
    /// [`Capability::Shutdown`](crate::Capability::Shutdown).
    ///
    /// # Behaviour
    ///
    /// - `recovery::shutdown_leave`, `recovery::shutdown_stop`, `recovery::shutdown_remove`.
    async fn shutdown(&self, mode: ShutdownMode) -> Result<()> {
        let _ = mode;
        Err(unsupported(self.name(), Operation::Shutdown))
    }
}

/// The one place where an operation is refused as unsupported.
fn unsupported(driver: &str, operation: Operation) -> DriverError {
    DriverError::unsupported(operation.name(), driver)
}
