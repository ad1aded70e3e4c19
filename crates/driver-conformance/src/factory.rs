//! What a driver's author implements to get the suite: [`DriverFactory`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use driver_types::{ContainerDriver, Deadlines, PortProtocol};

use crate::dial::dial_host;

/// Opens drivers for the suite. Only [`name`](Self::name) and [`open`](Self::open) are required; what another hook
/// cannot offer makes the cases that need it skipped, with a reason.
#[async_trait]
pub trait DriverFactory: fmt::Debug + Send + Sync + 'static {
    /// The name of the driver in reports and on the command line, for example `docker`.
    fn name(&self) -> &str;

    /// Opens a driver. Each case opens its own, with an owner that nobody else uses. Opening again with the same owner
    /// must find the same outside world: that is how a restart of an application is rehearsed.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where this machine cannot run the driver; the run then goes on without it, unless it is
    /// required.
    async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Unavailable>;

    /// A driver whose engine cannot be reached.
    async fn open_unreachable(&self) -> Option<Arc<dyn ContainerDriver>> {
        None
    }

    /// What exists outside of the driver for an owner, beyond what the driver's own lists say: engine objects,
    /// cgroups, mounts, directories, processes. One line of text each. After each case it must be empty. What a
    /// driver keeps on purpose for all owners (its default network, an image cache) does not belong here.
    async fn host_objects(&self, owner: &str) -> Option<Vec<String>> {
        let _ = owner;
        None
    }

    /// Connects to a published port from the host's side, sends the payload, ends the sending direction, and returns
    /// all that comes back (UDP: one datagram). Override it where the engine's ports are not those of this process.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    async fn dial(&self, protocol: PortProtocol, address: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
        dial_host(protocol, address, payload).await
    }

    /// Whether containers are simulated: then the image holds a placeholder instead of the compiled workload program,
    /// and the cases run on one thread with tokio's clock paused, so that no wait takes real time. Such a driver has
    /// to live by tokio's time and wait for nothing outside of the runtime: no socket, no thread of its own.
    fn simulated(&self) -> bool {
        false
    }

    /// An image with the workload program for a driver that cannot import one.
    async fn image(&self) -> Option<SuppliedImage> {
        None
    }

    /// A registry from which this driver can pull; [`LoopbackRegistry`](crate::LoopbackRegistry) is one.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where there is none: the cases are skipped then, or fail where `DRIVER_REQUIRE_REGISTRY` is set.
    async fn registry(&self) -> Result<Registry, Unavailable> {
        Err(Unavailable("the factory has no registry".to_owned()))
    }
}

/// How to open a driver.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The owner of what the driver makes.
    pub owner: String,
    /// The deadlines of its operations.
    pub deadlines: Deadlines,
}

impl OpenOptions {
    /// With the default deadlines.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            deadlines: Deadlines::default(),
        }
    }
}

/// Why a driver cannot run on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image that a factory supplies.
#[derive(Clone, Debug)]
pub struct SuppliedImage {
    /// What `ContainerConfig::image` has to be.
    pub reference: String,
    /// Where the workload program is, as the containers see it.
    pub program: String,
}

/// A registry with one image that cases may pull. The driver does not have it before the first case, and each pull
/// case removes it again.
#[derive(Clone, Debug)]
pub struct Registry {
    /// A reference that can be pulled without credentials.
    pub image: String,
    /// A reference that the registry answers with "unknown".
    pub missing: String,
}
