//! A real engine that is killed and started again while calls are under way.
//!
//! The test starts a `dockerd` of its own in a network namespace of its own. It needs root, `dockerd`, `ip` and
//! `nsenter`; without them it is skipped with the reason, or fails where `DRIVER_REQUIRE_DOCKER` is set.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use driver_docker::{DockerDriver, DockerOptions, Host};
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerStatus, ImportOptions, WaitCondition,
};

const PROGRAM: &str = "/bin/busybox";
/// A killed engine that comes back first ends what it finds running: 12 s were measured.
const BACK_LIMIT: Duration = Duration::from_secs(90);

struct Dockerd {
    directory: tempfile::TempDir,
    namespace: String,
    process: Option<Child>,
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

impl Dockerd {
    fn new() -> Result<Self, String> {
        for (program, arguments) in [
            ("dockerd", ["--version"]),
            ("nsenter", ["--version"]),
            ("ip", ["-V"]),
        ] {
            if !run(program, &arguments) {
                return Err(format!("`{program}` cannot be run"));
            }
        }
        if !Path::new(PROGRAM).exists() {
            return Err(format!("{PROGRAM} is not there"));
        }
        let namespace = format!("driver-restart-{}", std::process::id());
        if !run("ip", &["netns", "add", &namespace]) {
            return Err("a network namespace cannot be made; this needs root".into());
        }
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        // Beside the build, not in /tmp: overlay wants a real file system.
        let directory =
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
        Ok(Self {
            directory,
            namespace,
            process: None,
        })
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn start(&mut self) {
        let process = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args([
                "dockerd",
                "--data-root",
                &self.path("data"),
                "--exec-root",
                &self.path("exec"),
            ])
            .args([
                "--pidfile",
                &self.path("pid"),
                "-H",
                &format!("unix://{}", self.path("s")),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
    }

    /// `nsenter` becomes the engine, so the child's id is the engine's.
    fn end(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            run("kill", &[signal, &process.id().to_string()]);
            process.wait().unwrap();
        }
    }

    async fn is_back(&self, driver: &DockerDriver) {
        let back = async {
            while !driver.health_check().await.unwrap().is_healthy() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(BACK_LIMIT, back)
            .await
            .expect("the engine did not come up");
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.end("-TERM");
        run("umount", &[&self.path("data")]);
        run("ip", &["netns", "del", &self.namespace]);
    }
}

async fn image(driver: &DockerDriver) -> String {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(PROGRAM, "bin/busybox").unwrap();
    let archive = bytes::Bytes::from(archive.into_inner().unwrap());
    let stream = Box::pin(futures_util::stream::iter([Ok(archive)]));
    let options = ImportOptions::new("driver-restart/busybox:1");
    driver.import_image(&options, stream).await.unwrap();
    options.reference
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_loses_no_waiter_and_is_not_misreported() {
    let mut engine = match Dockerd::new() {
        Ok(engine) => engine,
        Err(reason) => {
            assert!(std::env::var_os("DRIVER_REQUIRE_DOCKER").is_none(), "{reason}");
            eprintln!("skipped: {reason}");
            return;
        }
    };
    engine.start();
    let host = Host::Unix(engine.path("s").into());
    let driver = DockerDriver::connect(DockerOptions::default().host(host)).unwrap();
    engine.is_back(&driver).await;

    let image = image(&driver).await;
    let config = ContainerConfig::new("s", image).command([PROGRAM, "sleep", "1000"]);
    let id = driver.run_container(&config).await.unwrap().id;
    // Twice, so that the second answer is the cache's.
    for _ in 0..2 {
        assert_eq!(
            driver.require_container(&id).await.unwrap().status,
            ContainerStatus::Running
        );
    }
    let wait = || {
        let (driver, id) = (driver.clone(), id.clone());
        tokio::spawn(async move { driver.wait_container(&id, WaitCondition::Exited).await })
    };
    let before = wait();

    engine.end("-KILL");
    // The cache must not answer for an engine that is gone.
    let gone = async {
        while driver.get_container(&id).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        driver.get_container(&id).await.unwrap_err()
    };
    let error = tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert_eq!(
        (error.code(), error.is_retryable()),
        ("NETWORK_ERROR", true),
        "{error:?}"
    );
    assert!(!driver.health_check().await.unwrap().is_healthy());
    let meanwhile = wait();

    // An engine that is started within about a second of the kill fails: its containerd is not yet gone.
    tokio::time::sleep(Duration::from_secs(3)).await;
    engine.start();
    engine.is_back(&driver).await;
    for waiter in [before, meanwhile] {
        let exit = tokio::time::timeout(BACK_LIMIT, waiter).await;
        let exit = exit.unwrap().unwrap().unwrap();
        // The engine that comes back ends what it finds running: SIGTERM, or SIGKILL after a while.
        assert!(exit.signal.is_some(), "{exit:?}");
    }
    let after = driver.require_container(&id).await.unwrap();
    assert_eq!(after.status, ContainerStatus::Exited);
    driver.start_container(&id).await.unwrap();
    assert_eq!(
        driver.require_container(&id).await.unwrap().status,
        ContainerStatus::Running
    );
    driver.force_remove(&id).await.unwrap();
    assert_eq!(driver.get_container(&id).await.unwrap(), None);
}
