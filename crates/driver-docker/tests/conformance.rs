//! The conformance suite against a real engine: `cargo test -p driver-docker --test conformance -- --help`.
//!
//! The engine is that of `DRIVER_CONFORMANCE_DOCKER_HOST`, else the one that the driver finds by itself. What the suite
//! counts as left behind is asked of the engine by another client (bollard's), not of the driver.
#![allow(
    clippy::unwrap_used,
    reason = "a harness without its preconditions cannot go on"
)]

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions, ListVolumesOptions};
use driver_conformance::{DriverFactory, LoopbackRegistry, OpenOptions, Registry, Unavailable, dial_host};
use driver_docker::{DockerDriver, DockerOptions, Host};
use driver_types::{ContainerDriver, PortProtocol};
use nix::sched::{CloneFlags, setns};

const DIAL_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    driver_conformance::main(vec![Arc::new(DockerFactory::default())])
}

#[derive(Debug, Default)]
struct DockerFactory {
    registry: OnceLock<Result<LoopbackRegistry, Unavailable>>,
}

fn host() -> Result<Host, Unavailable> {
    let found = match env::var("DRIVER_CONFORMANCE_DOCKER_HOST") {
        Ok(host) => Host::parse(&host),
        Err(_) => Host::discover(),
    };
    found.map_err(|error| Unavailable(error.to_string()))
}

fn connect(options: DockerOptions) -> Result<DockerDriver, Unavailable> {
    DockerDriver::connect(options).map_err(|error| Unavailable(error.to_string()))
}

/// A client that has nothing in common with the driver.
fn other_client() -> Option<Docker> {
    let version = bollard::API_DEFAULT_VERSION;
    match host().ok()? {
        Host::Unix(path) => Docker::connect_with_unix(path.to_str()?, 60, version).ok(),
        Host::Tcp(address) => Docker::connect_with_http(&address, 60, version).ok(),
    }
}

#[async_trait]
impl DriverFactory for DockerFactory {
    fn name(&self) -> &str {
        "docker"
    }

    async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Unavailable> {
        let options = DockerOptions::default()
            .host(host()?)
            .owner(&options.owner)
            .deadlines(options.deadlines.clone());
        let driver = connect(options)?;
        let health = driver
            .health_check()
            .await
            .map_err(|error| Unavailable(error.to_string()))?;
        match health.error {
            Some(error) => Err(Unavailable(error)),
            None => Ok(Arc::new(driver)),
        }
    }

    async fn open_unreachable(&self) -> Option<Arc<dyn ContainerDriver>> {
        let nowhere = Host::Unix("/nonexistent/docker.sock".into());
        let driver = connect(DockerOptions::default().host(nowhere)).ok()?;
        Some(Arc::new(driver))
    }

    async fn host_objects(&self, owner: &str) -> Option<Vec<String>> {
        let docker = other_client()?;
        let label = format!("openagent.owner={owner}");
        let filters = Some(HashMap::from([("label".to_owned(), vec![label])]));
        let containers = docker.list_containers(Some(ListContainersOptions {
            all: true,
            filters: filters.clone(),
            ..ListContainersOptions::default()
        }));
        let volumes = docker.list_volumes(Some(ListVolumesOptions {
            filters: filters.clone(),
        }));
        let networks = docker.list_networks(Some(ListNetworksOptions { filters }));
        let containers = containers.await.ok()?.into_iter();
        let volumes = volumes.await.ok()?.volumes.unwrap_or_default().into_iter();
        let networks = networks.await.ok()?.into_iter();
        Some(
            containers
                .map(|container| format!("container {:?} {:?}", container.names, container.state))
                .chain(volumes.map(|volume| format!("volume {}", volume.name)))
                .chain(networks.map(|network| format!("network {:?}", network.name)))
                .collect(),
        )
    }

    async fn dial(&self, protocol: PortProtocol, address: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
        let Ok(namespace) = env::var("DRIVER_CONFORMANCE_NETNS") else {
            return dial_host(protocol, address, payload).await;
        };
        let payload = payload.to_owned();
        // A thread of its own: the network namespace is the thread's.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || sender.send(dial_in(&namespace, protocol, address, &payload)));
        receiver
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    async fn registry(&self) -> Result<Registry, Unavailable> {
        let start = || match host()? {
            Host::Unix(_) => {
                LoopbackRegistry::for_suite(env::var("DRIVER_CONFORMANCE_NETNS").ok().as_deref())
            }
            Host::Tcp(_) => Err(Unavailable(
                "the engine has another loopback interface".to_owned(),
            )),
        };
        let registry = self.registry.get_or_init(start).as_ref();
        registry.map(LoopbackRegistry::suite).map_err(Clone::clone)
    }
}

fn dial_in(
    namespace: &str,
    protocol: PortProtocol,
    address: SocketAddr,
    payload: &[u8],
) -> io::Result<Vec<u8>> {
    setns(
        File::open(format!("/run/netns/{namespace}"))?,
        CloneFlags::CLONE_NEWNET,
    )?;
    match protocol {
        PortProtocol::Tcp => {
            let mut stream = TcpStream::connect_timeout(&address, DIAL_LIMIT)?;
            stream.set_read_timeout(Some(DIAL_LIMIT))?;
            stream.write_all(payload)?;
            stream.shutdown(Shutdown::Write)?;
            let mut reply = Vec::new();
            stream.take(1 << 20).read_to_end(&mut reply)?;
            Ok(reply)
        }
        PortProtocol::Udp => {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(DIAL_LIMIT))?;
            socket.connect(address)?;
            socket.send(payload)?;
            let mut reply = vec![0; 65_536];
            let length = socket.recv(&mut reply)?;
            reply.truncate(length);
            Ok(reply)
        }
    }
}
