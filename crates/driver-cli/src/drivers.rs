//! The drivers that this program knows, by name.

use std::path::PathBuf;
use std::sync::Arc;

use driver_docker::{DockerDriver, DockerOptions};
use driver_types::ContainerDriver;

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

const DRIVERS: &[Entry] = &[Entry {
    name: "docker",
    about: "Docker or Podman, by DOCKER_HOST, the Docker context or a usual socket",
    open: docker,
}];

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
    (entry.open)(options)
}

fn docker(options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Failure> {
    let docker = DockerOptions::default().owner(&options.owner).cache(false);
    Ok(Arc::new(DockerDriver::connect(docker)?))
}
