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
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, PushImageOptions, RemoveImageOptions,
};
use driver_conformance::{DriverFactory, OpenOptions, Registry, Unavailable, dial_host};
use driver_docker::{DockerDriver, DockerOptions, Host};
use driver_types::{ContainerDriver, ImportOptions, PortProtocol};
use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns};

const DIAL_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    driver_conformance::main(vec![Arc::new(DockerFactory::default())])
}

#[derive(Debug, Default)]
struct DockerFactory {
    registry: tokio::sync::OnceCell<Option<Registry>>,
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

    async fn registry(&self) -> Option<Registry> {
        let address = env::var("DRIVER_CONFORMANCE_REGISTRY").ok()?;
        self.registry
            .get_or_init(async || fill(&address).await)
            .await
            .clone()
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

/// Puts an image into the registry, by way of the engine, and removes it from there.
async fn fill(address: &str) -> Option<Registry> {
    let image = format!("{address}/conformance/small:1");
    let driver = connect(DockerOptions::default().host(host().ok()?)).ok()?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let content = format!("filled by process {}", std::process::id());
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, "origin", content.as_bytes())
        .ok()?;
    let archive = archive.into_inner().ok()?;
    let options = ImportOptions {
        command: vec!["/nothing".to_owned()],
        ..ImportOptions::new(&image)
    };
    let stream = Box::pin(futures_util::stream::iter([Ok(archive.into())]));
    driver.import_image(&options, stream).await.ok()?;
    let docker = other_client()?;
    let (name, tag) = image.rsplit_once(':')?;
    let push = PushImageOptions {
        tag: Some(tag.to_owned()),
        ..PushImageOptions::default()
    };
    let pushed = docker
        .push_image(name, Some(push), None)
        .try_collect::<Vec<_>>()
        .await;
    let _ = docker
        .remove_image(&image, None::<RemoveImageOptions>, None)
        .await;
    pushed.ok()?;
    Some(Registry {
        image,
        missing: format!("{address}/conformance/missing:1"),
    })
}
