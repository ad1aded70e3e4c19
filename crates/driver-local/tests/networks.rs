//! What a member of a network reaches, on real bridges: a world outside is made of a network namespace beside the host's.
#![allow(clippy::unwrap_used, reason = "a test without its preconditions cannot go on")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use driver_local::{LocalDriver, LocalOptions};
use driver_types::{ContainerConfig, ContainerDriver, ExecSpec, NetworkConfig, RemoveOptions, ShutdownMode};

const OUTSIDE: &str = "203.0.113.2";
const METADATA: &str = "169.254.169.254";

/// A namespace with a server at port 8099, which the host reaches at both addresses. It has no route to containers.
struct World {
    name: String,
    server: Child,
}

impl World {
    fn make() -> Self {
        let name = format!("oat{}", std::process::id());
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add 203.0.113.1/30 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("route add {METADATA}/32 via {OUTSIDE}"));
        ip(&format!("-n {name} addr add {OUTSIDE}/30 dev eth0"));
        ip(&format!("-n {name} addr add {METADATA}/32 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        let server = Command::new("ip")
            .args([
                "netns",
                "exec",
                &name,
                "busybox",
                "nc",
                "-ll",
                "-p",
                "8099",
                "-e",
                "/bin/echo",
                "hello",
            ])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { name, server }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("ip").args(["link", "delete", &self.name]).status();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn ip(command: &str) {
    let status = Command::new("ip").args(command.split(' ')).status().unwrap();
    assert!(status.success(), "ip {command}");
}

/// What a shell runs to connect and read; its output is `hello` where the server answers.
fn dial(address: &str, port: u16) -> String {
    format!("timeout 3 bash -c 'cat < /dev/tcp/{address}/{port}' 2>/dev/null; true")
}

async fn inside(driver: &LocalDriver, id: &str, script: &str) -> String {
    let result = driver
        .exec(id, &ExecSpec::new(["bash", "-c", script]))
        .await
        .unwrap();
    result.stdout.to_text().trim().to_owned()
}

async fn member(driver: &LocalDriver, network: &str) -> String {
    let config = ContainerConfig::new("s", "host")
        .command(["sleep", "300"])
        .network(network);
    let id = driver.create_container(&config).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    id
}

#[tokio::test]
async fn members_reach_the_world_and_neither_host_nor_metadata() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: bridges need root");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let driver = LocalDriver::open(LocalOptions::default().state_dir(state.path())).unwrap();
    let network = driver
        .create_network(&NetworkConfig::new("closed").internal(true))
        .await
        .unwrap();
    let mut world = World::make();
    let of_host = |address: &str| {
        let output = Command::new("bash")
            .args(["-c", &dial(address, 8099)])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    // The server is up once it answers; that the host reaches both addresses shows that only the rules are in the way.
    while of_host(OUTSIDE) != "hello" {
        assert!(world.server.try_wait().unwrap().is_none(), "the server has ended");
    }
    assert_eq!(of_host(METADATA), "hello");

    let open = member(&driver, ContainerConfig::NETWORK_DEFAULT).await;
    let closed = member(&driver, &network.name).await;
    assert_eq!(inside(&driver, &open, &dial(OUTSIDE, 8099)).await, "hello");
    assert_eq!(inside(&driver, &open, &dial(METADATA, 8099)).await, "");
    assert_eq!(inside(&driver, &closed, &dial(OUTSIDE, 8099)).await, "");

    // A server of the host at all its addresses would accept; the backlog takes the connection.
    let server = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = server.local_addr().unwrap().port();
    server.set_nonblocking(true).unwrap();
    let gateway = network.gateway.unwrap();
    for (id, address) in [(&open, "203.0.113.1"), (&closed, gateway.as_str())] {
        inside(&driver, id, &dial(address, port)).await;
        assert!(server.accept().is_err(), "{address} of the host was reached");
    }

    for id in [&open, &closed] {
        driver
            .remove_container(id, &RemoveOptions::force())
            .await
            .unwrap();
    }
    driver.remove_network(&network.id).await.unwrap();
    driver.shutdown(ShutdownMode::Leave).await.unwrap();
    drop(world);
    let bridge = format!("oa-{}", &network.id[..8]);
    assert!(!std::path::Path::new("/sys/class/net").join(bridge).exists());
}

/// Either the container finds the network gone, or the removal finds the container.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_not_removed_under_a_container_that_is_being_made() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: bridges need root");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let driver = LocalDriver::open(LocalOptions::default().state_dir(state.path())).unwrap();
    for _ in 0..40 {
        let network = driver.create_network(&NetworkConfig::new("raced")).await.unwrap();
        let config = ContainerConfig::new("s", "host")
            .command(["true"])
            .network("raced");
        let (made, removed) = tokio::join!(
            driver.create_container(&config),
            driver.remove_network(&network.id)
        );
        assert_ne!(made.is_ok(), removed.is_ok(), "{made:?} {removed:?}");
        if let Ok(container) = made {
            let force = RemoveOptions::force();
            driver.remove_container(&container.id, &force).await.unwrap();
            driver.remove_network(&network.id).await.unwrap();
        }
    }
    driver.shutdown(ShutdownMode::Leave).await.unwrap();
}
