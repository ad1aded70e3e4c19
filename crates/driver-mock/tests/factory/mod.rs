//! The mocks as subjects of the conformance suite.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use driver_conformance::{DriverFactory, OpenOptions, Registry, Unavailable};
use driver_mock::{Clock, MockDriver, MockOptions, Profile, RegistryImage, Script, World};
use driver_types::{ContainerDriver, PortProtocol};

const REGISTRY_IMAGE: &str = "registry.example/conformance:1";

/// A world for one run of the suite.
#[derive(Debug)]
pub(crate) struct MockFactory(pub(crate) World);

impl MockFactory {
    /// With a registry, and with what else a script says.
    pub(crate) fn with_script(profile: Profile, mut script: Script) -> Self {
        script.registry.push(RegistryImage {
            layers: vec![3 << 20, 1 << 20],
            layer_ms: 20,
            ..RegistryImage::new(REGISTRY_IMAGE)
        });
        Self(World::with_script(profile, script, Clock::tokio()))
    }
}

fn open(world: &World, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Unavailable> {
    let options = MockOptions {
        owner: options.owner.clone(),
        deadlines: options.deadlines.clone(),
    };
    let driver = MockDriver::open(world, options).map_err(|error| Unavailable(error.report()))?;
    Ok(Arc::new(driver))
}

#[async_trait]
impl DriverFactory for MockFactory {
    fn name(&self) -> &str {
        self.0.profile().name()
    }

    async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Unavailable> {
        open(&self.0, options)
    }

    async fn open_unreachable(&self) -> Option<Arc<dyn ContainerDriver>> {
        let world = World::new(self.0.profile());
        world.engine_down();
        open(&world, &OpenOptions::new("unreachable")).ok()
    }

    async fn host_objects(&self, owner: &str) -> Option<Vec<String>> {
        Some(self.0.leftovers(owner))
    }

    async fn dial(&self, protocol: PortProtocol, address: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.0.dial(protocol, address, payload).await
    }

    fn simulated(&self) -> bool {
        true
    }

    async fn registry(&self) -> Result<Registry, Unavailable> {
        Ok(Registry {
            image: REGISTRY_IMAGE.to_owned(),
            missing: "registry.example/missing:1".to_owned(),
        })
    }
}
