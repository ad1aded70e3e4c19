//! The network `default` without root: what a container of `nobody` reaches, in a world of network namespaces that are made here.
#![allow(clippy::unwrap_used, reason = "a test without its preconditions cannot go on")]

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driver_local::{LocalDriver, LocalOptions};
use driver_types::{
    Capability, ContainerConfig, ContainerDriver, ExecSpec, PortMapping, RemoveOptions, ShutdownMode,
};
use rstest::rstest;

const OUTSIDE: &str = "203.0.113.2";
const HOST: &str = "203.0.113.1";
const METADATA: &str = "169.254.169.254";
const GATEWAY: &str = "10.0.2.2";
const NOBODY: u32 = 65534;
const PATIENCE: Duration = Duration::from_secs(20);

/// A namespace that stands for the host, and one for the world outside with a server at port 8099.
struct World {
    host: String,
    outside: String,
    place: PathBuf,
    server: Option<Child>,
}

impl World {
    fn make(tool: &str) -> Self {
        let id = std::process::id();
        let (host, outside) = (format!("oah{id}"), format!("oao{id}"));
        ip(&format!("netns add {host}"));
        ip(&format!("netns add {outside}"));
        ip(&format!("-n {host} link set lo up"));
        ip(&format!(
            "-n {host} link add eth0 type veth peer name eth0 netns {outside}"
        ));
        ip(&format!("-n {host} addr add {HOST}/30 dev eth0"));
        ip(&format!("-n {host} link set eth0 up"));
        ip(&format!("-n {outside} addr add {OUTSIDE}/30 dev eth0"));
        ip(&format!("-n {outside} addr add {METADATA}/32 dev eth0"));
        ip(&format!("-n {outside} link set eth0 up"));
        ip(&format!("-n {host} route add default via {OUTSIDE}"));
        // Nobody may reach it, which is not so of a checkout in the home of root.
        let place = PathBuf::from(format!("/var/tmp/driver-outbound-{id}"));
        fs::create_dir(&place).unwrap();
        fs::copy(std::env::current_exe().unwrap(), place.join("test")).unwrap();
        fs::create_dir(place.join("bin")).unwrap();
        symlink(format!("/usr/bin/{tool}"), place.join("bin").join(tool)).unwrap();
        for path in [place.clone(), place.join("test")] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut world = Self {
            host,
            outside,
            place,
            server: None,
        };
        let serve = ["busybox", "nc", "-ll", "-p", "8099", "-e", "/bin/echo", "hello"];
        world.server = Some(world.command(&world.outside, &serve).spawn().unwrap());
        world
    }

    fn command(&self, namespace: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace])
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Runs one of the tests below as nobody, who may open /dev/net/tun, as udev has it.
    fn as_nobody(&self, test: &str) {
        let script = "mknod -m 666 $1/tun c 10 200 2>/dev/null; mount --bind $1/tun /dev/net/tun && cd $1 && \
                      exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=$1/bin TMPDIR=$1 \
                      DRIVER_OUTBOUND=$1 $1/test --exact --nocapture $2";
        let place = self.place.to_str().unwrap();
        let status = self
            .command(&self.host, &["sh", "-c", script, "sh", place, test])
            .status()
            .unwrap();
        assert!(status.success(), "{test}");
    }

    fn processes_of_the_host(&self) -> String {
        let output = Command::new("ip")
            .args(["netns", "pids", &self.host])
            .output()
            .unwrap();
        let pids = String::from_utf8_lossy(&output.stdout);
        let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        pids.lines().filter_map(name).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        for namespace in [&self.host, &self.outside] {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn ip(command: &str) {
    let status = Command::new("ip").args(command.split(' ')).status().unwrap();
    assert!(status.success(), "ip {command}");
}

#[rstest]
#[case::pasta("pasta")]
#[case::slirp4netns("slirp4netns")]
fn a_container_of_a_user_reaches_the_world_and_neither_host_nor_metadata(#[case] tool: &str) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a world of network namespaces needs root");
        return;
    }
    if !Path::new("/usr/bin").join(tool).exists() {
        eprintln!("skipped: {tool} is not installed");
        return;
    }
    let world = World::make(tool);
    // Two applications, one after the other: the network outlives the first.
    world.as_nobody("begin");
    let during = world.processes_of_the_host();
    assert!(!during.is_empty(), "the container, its shim and its helper go on");
    world.as_nobody("end");
    // A shim ends after it has told the end of the container.
    let begin = Instant::now();
    while !world.processes_of_the_host().is_empty() {
        assert!(
            begin.elapsed() < PATIENCE,
            "left: {}",
            world.processes_of_the_host()
        );
        std::thread::yield_now();
    }
}

/// The driver of nobody; `None` where this is not run by the test above.
fn open() -> Option<LocalDriver> {
    let Some(place) = std::env::var_os("DRIVER_OUTBOUND").map(PathBuf::from) else {
        eprintln!("skipped: it is half of another test, which runs it as nobody");
        return None;
    };
    let options = LocalOptions::default().state_dir(place.join("state"));
    Some(LocalDriver::open(options).unwrap())
}

/// What a shell runs to connect and read.
fn dial(address: &str, port: u16) -> String {
    format!("timeout 3 bash -c 'cat < /dev/tcp/{address}/{port}' 2>&1; true")
}

async fn inside(driver: &LocalDriver, id: &str, script: &str) -> String {
    let exec = ExecSpec::new(["bash", "-c", script]);
    let result = driver.exec(id, &exec).await.unwrap();
    result.stdout.to_text().trim().to_owned()
}

fn answer(port: u16) -> String {
    let mut text = String::new();
    let stream = TcpStream::connect(("127.0.0.1", port));
    let _ = stream.and_then(|mut stream| stream.read_to_string(&mut text));
    text.trim().to_owned()
}

#[tokio::test]
async fn begin() {
    let Some(driver) = open() else { return };
    let capabilities = driver.capabilities().await.unwrap();
    assert!(capabilities.supports(Capability::NetworkDefault));
    let publishes = capabilities.supports(Capability::PortsTcp);
    let mut config = ContainerConfig::new("s", "host")
        .name("member")
        .command([
            "busybox",
            "nc",
            "-ll",
            "-p",
            "7000",
            "-e",
            "/bin/echo",
            "published",
        ])
        .network(ContainerConfig::NETWORK_DEFAULT);
    // What passes its datagrams on outlives this process, too, and ends with the container.
    config = config.port(PortMapping::udp(7000));
    if publishes {
        config = config.port(PortMapping::tcp(7000));
    }
    let id = driver.create_container(&config).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    // No waiting: with the start the network is up.
    assert_eq!(inside(&driver, &id, &dial(OUTSIDE, 8099)).await, "hello");
    let told = inside(&driver, &id, &dial(METADATA, 8099)).await;
    assert!(told.contains("No route to host"), "{told}");

    // Servers of the host, at its loopback address and at all of them.
    for bound in ["127.0.0.1:0", "0.0.0.0:0"] {
        let server = TcpListener::bind(bound).unwrap();
        let port = server.local_addr().unwrap().port();
        for address in [HOST, GATEWAY, "127.0.0.1"] {
            inside(&driver, &id, &dial(address, port)).await;
        }
        server.set_nonblocking(true).unwrap();
        let came = server.accept();
        assert!(came.is_err(), "{came:?} came to {bound}");
    }
    let names = inside(&driver, &id, "grep member /etc/hosts").await;
    assert!(names.starts_with("10.0.2.100\tmember"), "{names}");

    let container = driver.get_container(&id).await.unwrap().unwrap();
    assert_eq!(container.ports.len(), 1 + usize::from(publishes));
    for port in &container.ports[1..] {
        while answer(port.host_port) != "published" {}
    }
}

#[tokio::test]
async fn end() {
    let Some(driver) = open() else { return };
    let report = driver.recover().await.unwrap();
    let id = report.adopted[0].id.clone();
    assert_eq!(inside(&driver, &id, &dial(OUTSIDE, 8099)).await, "hello");
    driver
        .remove_container(&id, &RemoveOptions::force())
        .await
        .unwrap();
    driver.shutdown(ShutdownMode::Remove).await.unwrap();
}
