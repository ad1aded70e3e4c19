//! What tests of disk limits share: a driver with one way of holding them, and a container whose root is writable.

use std::path::Path;

use driver_local::{DiskBackend, LocalDriver, LocalOptions};
use driver_types::{
    Capability, CheckStatus, ContainerConfig, ContainerDriver, ResourceLimits, SecurityOptions,
};

pub(crate) fn open(state: &Path, backend: DiskBackend) -> LocalDriver {
    let options = LocalOptions::default().state_dir(state);
    LocalDriver::open(options.disk(backend)).unwrap()
}

/// Why no container with a disk limit can run, if that is so.
pub(crate) async fn lack(driver: &LocalDriver) -> Option<String> {
    let checks = driver.preflight().await.unwrap().checks;
    let failed = checks.into_iter().find(|check| check.status == CheckStatus::Fail);
    let disk = driver.capabilities().await.unwrap().get(Capability::DiskLimit);
    failed
        .map(|check| check.message)
        .or(disk.reason.clone().filter(|_| !disk.is_supported()))
}

pub(crate) fn config<const N: usize>(command: [&str; N]) -> ContainerConfig {
    ContainerConfig::new("session", "host")
        .command(command)
        .resources(ResourceLimits::default().disk(16))
        .security(SecurityOptions::default().read_only(false).user("0:0"))
}
