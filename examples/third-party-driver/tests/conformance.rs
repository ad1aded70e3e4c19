//! All that a driver's author writes to get the whole suite: how to open the driver.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use driver_conformance::{DriverFactory, OpenOptions, Unavailable};
use driver_mock::{Clock, MockDriver, MockOptions, Profile, Script, World};
use driver_types::{ContainerDriver, PortProtocol};
use third_party_driver::Audited;

#[derive(Debug)]
struct Factory {
    /// What would be a daemon, a cluster or a kernel: it lives on when a driver is dropped and opened again.
    world: World,
}

#[async_trait]
impl DriverFactory for Factory {
    fn name(&self) -> &str {
        "audited"
    }

    async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Unavailable> {
        let owner = options.owner.clone();
        let deadlines = options.deadlines.clone();
        match MockDriver::open(&self.world, MockOptions { owner, deadlines }) {
            Ok(backend) => Ok(Arc::new(Audited::new(Arc::new(backend)))),
            Err(error) => Err(Unavailable(error.to_string())),
        }
    }

    /// The mock inside runs no real program.
    fn simulated(&self) -> bool {
        true
    }

    /// Its published ports are simulated as well, so the suite must not look for them on this machine.
    async fn dial(&self, protocol: PortProtocol, address: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.world.dial(protocol, address, payload).await
    }

    /// Whatever the driver's own lists do not show.
    async fn host_objects(&self, owner: &str) -> Option<Vec<String>> {
        Some(self.world.leftovers(owner))
    }
}

fn main() -> ExitCode {
    let world = World::with_script(Profile::Docker, Script::default(), Clock::tokio());
    driver_conformance::main(vec![Arc::new(Factory { world })])
}
