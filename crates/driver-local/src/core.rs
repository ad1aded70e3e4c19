//! What all operations share: one driver's options, state directory, caches and seams to the kernel.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use driver_state::{KeyedGuard, KeyedMutex};
use driver_types::{Capabilities, DriverError, Operation, Result, Violation};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::DRIVER_NAME;
use crate::cgroups::Cgroups;
use crate::container::Container;
use crate::containers::{Containers, Wanted, unreadable, unwritable};
use crate::disk::Disks;
use crate::file_worker::FileWorker;
use crate::healthcheck::HealthChecks;
use crate::host::Host;
use crate::images::ImageStore;
use crate::layout::Layout;
use crate::lock::FileLock;
use crate::lost::Watched;
use crate::names::Names;
use crate::networks::Networks;
use crate::options::LocalOptions;
use crate::prepare::Load;
use crate::rootless::{self, Rootless};
use crate::shim::Shim;
use crate::volumes::Volumes;
use crate::watcher::Watcher;

/// A driver's insides.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: LocalOptions,
    pub(crate) owner: Arc<str>,
    pub(crate) layout: Layout,
    pub(crate) host: Host,
    /// Why no container can be made on it, if so. What it was is not looked at again for each container.
    pub(crate) unfit: Option<DriverError>,
    /// Absent for root, whose containers have the ids of the host.
    pub(crate) rootless: Option<Rootless>,
    pub(crate) capabilities: Capabilities,
    pub(crate) cgroups: Cgroups,
    pub(crate) shim: Shim,
    pub(crate) containers: Arc<Containers>,
    pub(crate) names: Names,
    pub(crate) images: Arc<ImageStore>,
    pub(crate) volumes: Volumes,
    pub(crate) networks: Networks,
    pub(crate) health: HealthChecks,
    pub(crate) watched: Watched,
    /// Of containers whose runs get another shim.
    pub(crate) adopting: KeyedMutex,
    order: KeyedMutex,
    watcher: OnceLock<Watcher>,
    wanted: std::sync::Mutex<Option<UnboundedReceiver<Wanted>>>,
    pub(crate) load: Load,
    shut_down: AtomicBool,
}

impl Core {
    /// Opens the state directory. Runs nothing yet.
    pub(crate) fn open(options: LocalOptions) -> Result<Self> {
        driver_validation::validate_owner(&options.owner)?;
        check_state_dir(&options.state_dir)?;
        let layout = Layout::new(&options.state_dir);
        layout
            .prepare()
            .map_err(|error| unusable(&options.state_dir, &error))?;
        check_owner(&options.state_dir)?;
        let shim = Shim::load().map_err(|error| DriverError::internal(error.to_string()))?;
        let cgroups = Cgroups::detect().map_err(|error| unreadable(&error))?;
        let rootless = Rootless::look(&shim, &layout);
        let layout = match &rootless {
            Some(rootless) if rootless.one_id.is_none() => layout.with_file_worker(FileWorker {
                shim: shim.clone(),
                user: rootless.namespace.clone(),
            }),
            _ => layout,
        };
        let disks = Disks::probe(options.disk, &shim, &layout);
        let host = Host::probe(&cgroups, &layout, rootless.clone(), disks);
        let owner: Arc<str> = options.owner.as_str().into();
        let (containers, wanted) = Containers::new(layout.clone(), Arc::clone(&owner));
        let images = ImageStore::open(&layout).map_err(|error| unwritable(&error))?;
        Ok(Self {
            capabilities: host.capabilities(),
            unfit: host.require().err(),
            names: Names::new(&layout, &owner),
            volumes: Volumes::new(&layout, &owner),
            networks: Networks::new(&layout, &owner, host.has_bridges(), host.outbound()),
            images: Arc::new(images),
            health: HealthChecks::default(),
            watched: Watched::default(),
            adopting: KeyedMutex::new(),
            containers: Arc::new(containers),
            owner,
            layout,
            host,
            rootless,
            cgroups,
            shim,
            options,
            order: KeyedMutex::new(),
            watcher: OnceLock::new(),
            wanted: std::sync::Mutex::new(Some(wanted)),
            load: Load::new(),
            shut_down: AtomicBool::new(false),
        })
    }

    /// Runs an operation as a whole under its deadline, plus `extra`. Errors get the names of operation and driver.
    pub(crate) async fn within<T>(
        &self,
        operation: Operation,
        extra: Duration,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let result = match self.ready(operation) {
            Err(error) => Err(error),
            Ok(()) => match self.options.deadlines.get(operation) {
                None => work.await,
                Some(deadline) => {
                    let deadline = deadline.saturating_add(extra);
                    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
                        let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
                        Err(DriverError::timeout(operation.name(), ms))
                    })
                }
            },
        };
        result.map_err(|error| error.with_operation(operation.name()).with_driver(DRIVER_NAME))
    }

    /// Whether an operation may begin; the first one begins to watch the state directory.
    fn ready(&self, operation: Operation) -> Result<()> {
        if self.is_shut_down() {
            return Err(DriverError::network("the driver was shut down; open another one").permanent());
        }
        if let Some(capability) = operation.info().capability
            && !self.capabilities.supports(capability)
        {
            return Err(DriverError::unsupported(operation.name(), DRIVER_NAME));
        }
        let wanted = self
            .wanted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(wanted) = wanted {
            let watcher = Watcher::begin(&self.containers, self.layout.clone(), wanted);
            let watcher = watcher.map_err(|error| {
                let message = format!(
                    "the state directory cannot be watched: {error}; raise fs.inotify.max_user_instances"
                );
                DriverError::file_system(message)
            })?;
            let _ = self.watcher.set(watcher);
        }
        Ok(())
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Acquire)
    }

    /// Refuses all later operations.
    pub(crate) fn shut_down(&self) {
        self.shut_down.store(true, Ordering::Release);
        self.shim.rest();
    }

    /// Waits for a container's turn, in the order of arrival in this driver, and against other drivers by a file lock.
    pub(crate) async fn turn(&self, id: &str) -> Result<Turn> {
        self.containers.find(id)?;
        self.turn_of_any(id).await
    }

    /// Likewise for a container of any owner.
    pub(crate) async fn turn_of_any(&self, id: &str) -> Result<Turn> {
        let order = self.order.lock(id).await;
        let lock = FileLock::acquire(self.layout.container(id).lock()).await;
        let lock = match lock {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(DriverError::container_not_found(id));
            }
            Err(error) => return Err(unwritable(&error)),
        };
        // It may have been removed while the turn was awaited.
        let container = self.containers.look(id)?;
        let container = container.ok_or_else(|| DriverError::container_not_found(id))?;
        Ok(Turn {
            container,
            _order: order,
            _lock: lock,
        })
    }
}

/// The shim gets paths as text, and has another working directory.
fn check_state_dir(path: &Path) -> Result<()> {
    if path.is_absolute() && path.to_str().is_some() {
        return Ok(());
    }
    let message = format!("`{}` is not an absolute path in UTF-8", path.display());
    Err(refused_state_dir(message))
}

/// Whoever can change what is in it decides what the driver runs, and with whose files.
fn check_owner(path: &Path) -> Result<()> {
    match rootless::foreign(path) {
        Some(reason) => Err(refused_state_dir(reason)),
        None => Ok(()),
    }
}

/// It is another user's, or cannot be made.
fn unusable(path: &Path, error: &std::io::Error) -> DriverError {
    match (rootless::foreign(path), error.kind()) {
        (Some(reason), _) => refused_state_dir(reason),
        (None, std::io::ErrorKind::PermissionDenied) => {
            refused_state_dir(format!("{} cannot be made or used: {error}", path.display()))
        }
        _ => unwritable(error),
    }
}

fn refused_state_dir(message: String) -> DriverError {
    let hint = "give another one, by LocalOptions::state_dir or DRIVER_LOCAL_STATE";
    DriverError::violations(vec![Violation::new("/stateDir", message).with_hint(hint)])
}

/// The right to change a container, and how it was when the turn came.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) container: Container,
    _lock: FileLock,
    _order: KeyedGuard,
}

/// Does work in a task of its own: it goes on when its caller goes away.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let joined = tokio::spawn(work).await;
    joined.unwrap_or_else(|error| Err(lost(&error)))
}

/// Does blocking work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(lost(&error)))
}

fn lost(error: &tokio::task::JoinError) -> DriverError {
    DriverError::internal(format!("the work of the call was lost: {error}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"state")]
    #[case(b"")]
    #[case(b"/state/\xff")]
    fn a_state_directory_that_a_shim_could_not_find_is_refused(#[case] path: &[u8]) {
        let options = LocalOptions::default().state_dir(OsStr::from_bytes(path));
        let error = Core::open(options).expect_err("refused");
        assert_eq!(error.violation_list()[0].pointer, "/stateDir");
        assert!(error.to_string().contains("DRIVER_LOCAL_STATE"), "{error}");
    }
}
