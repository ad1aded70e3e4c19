//! A real engine for one test: an owner of its own, an image of its own, and nothing left at the end.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod proxy;

use driver_docker::{DockerDriver, DockerOptions, Host};
use driver_types::{ContainerDriver, ImportOptions, ShutdownMode};

const BUSYBOX: &str = "/bin/busybox";

pub(crate) struct RealEngine {
    pub(crate) host: Host,
    /// An image with `/bin/busybox`, and a directory `/work` for everybody.
    pub(crate) image: String,
    owner: String,
}

impl RealEngine {
    /// The engine of `DRIVER_CONFORMANCE_DOCKER_HOST`, else that which the driver finds; `None`, with the reason on
    /// stderr, where there is none, unless `DRIVER_REQUIRE_DOCKER` is set.
    pub(crate) async fn open(test: &str) -> Option<Self> {
        let unique = format!("driver-docker-{test}-{}", std::process::id());
        let host = match std::env::var("DRIVER_CONFORMANCE_DOCKER_HOST") {
            Ok(host) => Host::parse(&host),
            Err(_) => Host::discover(),
        };
        let engine = Self {
            host: host.unwrap(),
            image: format!("{unique}:1"),
            owner: unique,
        };
        let driver = engine.driver(engine.host.clone());
        let health = driver.health_check().await.unwrap();
        if let Some(error) = health.error {
            return skip(&format!("no engine: {error}"));
        }
        let Some(archive) = archive() else {
            return skip("no /bin/busybox (Debian: busybox-static)");
        };
        let stream = Box::pin(futures_util::stream::iter([Ok(archive.into())]));
        let options = ImportOptions::new(&engine.image);
        driver.import_image(&options, stream).await.unwrap();
        Some(engine)
    }

    /// The owner of all that the test makes.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// A driver of this test's owner on the engine, seen at `host`.
    pub(crate) fn driver(&self, host: Host) -> DockerDriver {
        let options = DockerOptions::default().host(host).owner(&self.owner);
        DockerDriver::connect(options).unwrap()
    }

    /// Removes all that the test made.
    pub(crate) async fn close(self) {
        let driver = self.driver(self.host.clone());
        driver.shutdown(ShutdownMode::Remove).await.unwrap();
        let driver = self.driver(self.host.clone());
        driver.remove_image(&self.image).await.unwrap();
    }
}

/// Says why a test does not run, or fails where it must.
pub(crate) fn skip<T>(reason: &str) -> Option<T> {
    let required =
        std::env::var("DRIVER_REQUIRE_DOCKER").is_ok_and(|value| !value.is_empty() && value != "0");
    assert!(!required, "DRIVER_REQUIRE_DOCKER is set, and there is {reason}");
    eprintln!("skipped: {reason}");
    None
}

fn archive() -> Option<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(BUSYBOX, "bin/busybox").ok()?;
    let mut directory = tar::Header::new_gnu();
    directory.set_entry_type(tar::EntryType::Directory);
    directory.set_mode(0o1777);
    directory.set_size(0);
    archive
        .append_data(&mut directory, "work/", std::io::empty())
        .ok()?;
    archive.into_inner().ok()
}
