//! What all operations share: the client, the options, deadlines, and the check that a container is the owner's.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driver_types::{DriverError, Operation, Result, labels};
use driver_validation::validate_owner;
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};

use crate::client::{Client, escape};
use crate::create::Requests;
use crate::error;
use crate::events::{KnownReferences, OwnObjects};
use crate::failure::Failure;
use crate::kernel_log::KernelLog;
use crate::options::DockerOptions;
use crate::profile::Profile;
use crate::program::GoodPrograms;
use crate::records::Records;
use crate::watch::Watcher;
use crate::wire::Inspect;
use crate::{DRIVER_NAME, Host};

/// One opened engine. Operations are functions over it, each in the module of its subject.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) client: Client,
    pub(crate) options: DockerOptions,
    pub(crate) guard: crate::guard::GuardVolume,
    pub(crate) pulls: crate::images::Pulls,
    pub(crate) meters: crate::stats::Meters,
    pub(crate) stdins: crate::attach::Stdins,
    pub(crate) records: Records,
    pub(crate) kernel_log: KernelLog,
    pub(crate) watcher: Watcher,
    pub(crate) own_volumes: OwnObjects,
    pub(crate) own_networks: OwnObjects,
    pub(crate) references: KnownReferences,
    /// Who makes networks: the engine's check for duplicates is not safe against itself.
    pub(crate) network_turn: Mutex<()>,
    /// One call of create after another for each request id.
    pub(crate) requests: Requests,
    pub(crate) good_programs: GoodPrograms,
    profile: OnceCell<Arc<Profile>>,
    starts: OnceCell<Semaphore>,
    shut_down: AtomicBool,
}

impl Engine {
    /// Nothing is asked of the engine yet: it need not run.
    pub(crate) fn new(options: DockerOptions) -> Result<Self> {
        validate_owner(&options.owner)?;
        let host = match &options.host {
            Some(host) => host.clone(),
            None => Host::discover()?,
        };
        Ok(Self {
            kernel_log: KernelLog::open(&host),
            client: Client::new(host),
            options,
            guard: Default::default(),
            pulls: Default::default(),
            meters: Default::default(),
            stdins: Default::default(),
            records: Records::default(),
            watcher: Watcher::default(),
            own_volumes: OwnObjects::default(),
            own_networks: OwnObjects::default(),
            references: KnownReferences::default(),
            network_turn: Mutex::default(),
            requests: Requests::default(),
            good_programs: GoodPrograms::default(),
            profile: OnceCell::new(),
            starts: OnceCell::new(),
            shut_down: AtomicBool::new(false),
        })
    }

    /// Runs an operation as a whole under its deadline. Errors get the names of operation and driver.
    pub(crate) async fn within<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.within_extra(operation, Duration::ZERO, work).await
    }

    /// Likewise, with `extra` time beside the deadline: a stop that must wait is not late.
    pub(crate) async fn within_extra<T>(
        &self,
        operation: Operation,
        extra: Duration,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let result = match self.options.deadlines.get(operation) {
            _ if self.shut_down.load(Ordering::Acquire) => {
                Err(DriverError::network("the driver was shut down; open another one").permanent())
            }
            None => work.await,
            Some(deadline) => {
                let deadline = deadline.saturating_add(extra);
                tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
                    let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
                    Err(DriverError::timeout(operation.name(), ms))
                })
            }
        };
        result.map_err(|error| error.with_operation(operation.name()).with_driver(DRIVER_NAME))
    }

    /// What the engine is and has, asked once.
    pub(crate) async fn profile(&self) -> Result<Arc<Profile>> {
        let ask = async || {
            let version = self.client.get("/version").value();
            let (info, version) = tokio::try_join!(self.client.get("/info").value(), version)?;
            let is_local = matches!(self.client.host(), Host::Unix(_));
            let profile = Profile::new(info, version, self.options.disk_quota, is_local);
            Ok(Arc::new(profile))
        };
        self.profile
            .get_or_try_init(ask)
            .await
            .cloned()
            .map_err(error::engine)
    }

    /// The right to start a container. More starts at the same time only make each slower.
    pub(crate) async fn start_permit(&self) -> Result<SemaphorePermit<'_>> {
        let profile = self.profile().await?;
        let permits = self.options.start_concurrency.unwrap_or(2 * profile.cores());
        let starts = self.starts.get_or_init(async || Semaphore::new(permits)).await;
        starts
            .acquire()
            .await
            .map_err(|error| DriverError::internal(error.to_string()))
    }

    /// Refuses all later operations.
    pub(crate) fn shut_down(&self) {
        self.shut_down.store(true, Ordering::Release);
    }

    /// Whether the driver was shut down.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Acquire)
    }

    /// A container of the owner as the engine describes it now.
    ///
    /// # Errors
    ///
    /// `CONTAINER_NOT_FOUND` for an id that is unknown, abbreviated, or another owner's.
    pub(crate) async fn inspect(&self, operation: Operation, id: &str) -> Result<Inspect> {
        self.find(operation, id)
            .await?
            .ok_or_else(|| DriverError::container_not_found(id))
    }

    /// Likewise, with `None` where there is none.
    pub(crate) async fn find(&self, operation: Operation, id: &str) -> Result<Option<Inspect>> {
        if !is_full_id(id) {
            return Ok(None);
        }
        let found = self.find_any(operation, id).await?;
        Ok(found.filter(|inspect| self.owns(&inspect.config.labels)))
    }

    /// A container of any owner, or of none.
    pub(crate) async fn find_any(&self, operation: Operation, id: &str) -> Result<Option<Inspect>> {
        match self.client.get(format!("/containers/{id}/json")).value().await {
            Ok(inspect) => Ok(Some(inspect)),
            Err(Failure::Status { status: 404, .. }) => Ok(None),
            Err(failure) => Err(error::container(operation, id, failure)),
        }
    }

    /// Whether labels are those of an object of the owner.
    pub(crate) fn owns(&self, found: &std::collections::BTreeMap<String, String>) -> bool {
        found.get(labels::OWNER) == Some(&self.options.owner)
    }

    /// The label filter that selects the owner's objects on the engine's side.
    pub(crate) fn owner_label(&self) -> String {
        format!("{}={}", labels::OWNER, self.options.owner)
    }
}

/// Does work in a task of its own: it goes on when its caller goes away.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let joined = tokio::spawn(work).await;
    joined.unwrap_or_else(|error| {
        Err(DriverError::internal(format!(
            "the work of the call was lost: {error}"
        )))
    })
}

/// Whether this is a container id in full. An abbreviated one could select another container tomorrow.
pub(crate) fn is_full_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The reference of an image as a part of a path. The engine takes its slashes as they are.
pub(crate) fn image_path(reference: &str) -> String {
    escape(reference, ":@/")
}

/// A name as one part of a path: nothing in it can lead elsewhere.
pub(crate) fn path_segment(name: &str) -> String {
    escape(name, "")
}
