//! The drivers that this program knows, by name.

use std::path::PathBuf;
use std::sync::Arc;

use driver_docker::{DockerDriver, DockerOptions};
use driver_local::{LocalDriver, LocalOptions};
use driver_mock::{Clock, MockDriver, MockOptions, Profile, RegistryImage, Script, World};
use driver_types::{ContainerDriver, DriverError};

use crate::failure::Failure;

/// How to open a driver.
#[derive(Clone, Debug)]
pub(crate) struct OpenOptions {
    /// Whose objects are seen and changed.
    pub owner: String,
    /// The script of a mock's world.
    pub mock_script: Option<PathBuf>,
}

/// A driver of the registry.
struct Entry {
    name: &'static str,
    about: &'static str,
    open: fn(&OpenOptions) -> Result<Arc<dyn ContainerDriver>, Failure>,
}

/// The driver where none is named: it needs nothing to be installed.
pub(crate) const DEFAULT: &str = LOCAL;

const LOCAL: &str = "local";

const DRIVERS: &[Entry] = &[
    Entry {
        name: LOCAL,
        about: "this machine's Linux kernel, without a daemon",
        open: local,
    },
    Entry {
        name: "docker",
        about: "Docker or Podman, by DOCKER_HOST, the Docker context or a usual socket",
        open: docker,
    },
    Entry {
        name: "mock-docker",
        about: "a simulated Docker Engine, for this one command",
        open: |options| mock(Profile::Docker, options),
    },
    Entry {
        name: "mock-local",
        about: "a simulated Linux host without an engine, for this one command",
        open: |options| mock(Profile::Local, options),
    },
];

/// The help of `--driver`.
pub(crate) fn help() -> String {
    let names = DRIVERS
        .iter()
        .map(|entry| entry.name)
        .collect::<Vec<_>>()
        .join(", ");
    format!("The driver that runs the containers: {names}")
}

/// Opens a driver by name. Nothing is asked of its engine yet.
///
/// # Errors
///
/// A usage error for an unknown name, and for a mock's script on a driver that is none.
pub(crate) fn open(name: &str, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Failure> {
    let entry = DRIVERS.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known = DRIVERS
            .iter()
            .map(|entry| format!("\n  {:<12} {}", entry.name, entry.about))
            .collect::<String>();
        Failure::usage(format!(
            "there is no driver `{name}`; --driver takes one of:{known}"
        ))
    })?;
    if options.mock_script.is_some() && !name.starts_with("mock-") {
        return Err(Failure::usage(format!(
            "--mock-script is for the drivers mock-docker and mock-local, and --driver is `{name}`"
        )));
    }
    (entry.open)(options)
}

fn docker(options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Failure> {
    let docker = DockerOptions::default().owner(&options.owner).cache(false);
    Ok(Arc::new(DockerDriver::connect(docker)?))
}

fn local(options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Failure> {
    // A command starts one container: nothing is to wait for a next one.
    let local = LocalOptions::default().owner(&options.owner).prepared(0);
    let driver = LocalDriver::open(local).map_err(with_way_out)?;
    Ok(Arc::new(driver))
}

/// Says how to go on where a command failed because this host cannot run the driver's containers.
pub(crate) async fn explain(driver: &dyn ContainerDriver, failure: Failure) -> Failure {
    match failure {
        Failure::Driver(error) if driver.name() == LOCAL && lacks_something(driver).await => {
            Failure::Driver(with_way_out(error))
        }
        other => other,
    }
}

async fn lacks_something(driver: &dyn ContainerDriver) -> bool {
    driver.preflight().await.is_ok_and(|preflight| !preflight.is_ok())
}

fn with_way_out(error: DriverError) -> DriverError {
    let way = "`driver preflight` lists what this host lacks for the driver local, with remedies; `--driver docker` (or \
               DRIVER=docker) uses a Docker Engine instead";
    error.with_context("wayOut", way)
}

fn mock(profile: Profile, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Failure> {
    let script = match &options.mock_script {
        Some(path) => Script::from_json(&std::fs::read_to_string(path).map_err(|error| {
            DriverError::file_system(format!("cannot read --mock-script {}: {error}", path.display()))
        })?)?,
        None => demo_script(),
    };
    let world = World::with_script(profile, script, Clock::tokio());
    Ok(Arc::new(MockDriver::open(
        &world,
        MockOptions::owner(&options.owner),
    )?))
}

/// A world in which the examples of Docker's users have an image.
fn demo_script() -> Script {
    let mut script = Script::default();
    script.registry.push(RegistryImage::new("busybox:latest"));
    script
}
