//! The conformance suite on this machine's kernel: `cargo test -p driver-local --test conformance -- --help`.
//!
//! The state is that of `DRIVER_CONFORMANCE_LOCAL_STATE`, else a directory of this process; the driver's name in the report is
//! that of `DRIVER_CONFORMANCE_LOCAL_NAME`, else `local`. What the suite counts as left behind
//! is looked for in the kernel and the file system, not asked of the driver.
#![allow(
    clippy::unwrap_used,
    reason = "a harness without its preconditions cannot go on"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use driver_conformance::{DriverFactory, LoopbackRegistry, OpenOptions, Registry, Unavailable};
use driver_local::{DiskBackend, LocalDriver, LocalOptions};
use driver_types::{Capability, CheckStatus, ContainerDriver, ShutdownMode};

/// The name of a driver that would prove nothing new with one id.
const WITH_SUBIDS: &str = "local-subids";

fn main() -> ExitCode {
    let state = std::env::var_os("DRIVER_CONFORMANCE_LOCAL_STATE").map(PathBuf::from);
    let own = state.is_none().then(|| tempfile::tempdir().unwrap());
    let state = state.unwrap_or_else(|| own.as_ref().unwrap().path().join("state"));
    let verdict = driver_conformance::main(vec![Arc::new(LocalFactory::new(&state))]);
    drop(own);
    remove_bridges(&state);
    verdict
}

/// A driver of any state directory removes the bridges of those that are gone.
fn remove_bridges(gone: &Path) {
    if gone.exists() {
        return;
    }
    let other = tempfile::tempdir().unwrap();
    let driver = LocalDriver::open(LocalOptions::default().state_dir(other.path())).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(driver.shutdown(ShutdownMode::Leave)).unwrap();
}

#[derive(Debug)]
struct LocalFactory {
    name: String,
    state: PathBuf,
    registry: OnceLock<Result<LoopbackRegistry, Unavailable>>,
}

impl LocalFactory {
    fn new(state: &Path) -> Self {
        Self {
            name: std::env::var("DRIVER_CONFORMANCE_LOCAL_NAME").unwrap_or_else(|_| "local".to_owned()),
            state: state.to_owned(),
            registry: OnceLock::new(),
        }
    }
}

#[async_trait]
impl DriverFactory for LocalFactory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn ContainerDriver>, Unavailable> {
        let options = LocalOptions::default()
            .state_dir(&self.state)
            .owner(&options.owner)
            .disk(disk_backend()?)
            .deadlines(options.deadlines.clone());
        let unavailable = |error: driver_types::DriverError| Unavailable(error.to_string());
        let driver = LocalDriver::open(options).map_err(unavailable)?;
        let user = driver
            .capabilities()
            .await
            .map_err(unavailable)?
            .get(Capability::User);
        if self.name == WITH_SUBIDS && !user.is_supported() {
            return Err(Unavailable(user.reason.unwrap_or_default()));
        }
        let checks = driver.preflight().await.map_err(unavailable)?.checks;
        match checks.iter().find(|check| check.status == CheckStatus::Fail) {
            None => Ok(Arc::new(driver)),
            Some(failed) => Err(Unavailable(format!(
                "{}; {}",
                failed.message,
                failed.remedy.as_deref().unwrap_or("no remedy is known")
            ))),
        }
    }

    async fn host_objects(&self, owner: &str) -> Option<Vec<String>> {
        let mut found = owned_containers(&self.state, owner);
        found.extend(owned_networks(&self.state, owner));
        Some(found)
    }

    async fn registry(&self) -> Result<Registry, Unavailable> {
        let registry = self.registry.get_or_init(|| LoopbackRegistry::for_suite(None));
        registry
            .as_ref()
            .map(LoopbackRegistry::suite)
            .map_err(Clone::clone)
    }
}

/// That of `DRIVER_CONFORMANCE_LOCAL_DISK`, else the driver's own choice.
fn disk_backend() -> Result<DiskBackend, Unavailable> {
    match std::env::var("DRIVER_CONFORMANCE_LOCAL_DISK").as_deref() {
        Err(_) | Ok("auto") => Ok(DiskBackend::Auto),
        Ok("quota") => Ok(DiskBackend::Quota),
        Ok("tmpfs") => Ok(DiskBackend::Tmpfs),
        Ok("loop") => Ok(DiskBackend::Loop),
        Ok(other) => Err(Unavailable(format!(
            "DRIVER_CONFORMANCE_LOCAL_DISK={other}: use auto, quota, tmpfs or loop"
        ))),
    }
}

/// The directories of the owner's containers, finished or not.
fn owned_containers(state: &Path, owner: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(state.join("containers")) else {
        return Vec::new();
    };
    let wanted = format!("\"owner\":\"{owner}\"");
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let spec = fs::read_to_string(path.join("spec.json")).ok()?;
            spec.contains(&wanted).then(|| path.display().to_string())
        })
        .collect()
}

/// The bridges of the owner's networks, and what the host's book has for them.
fn owned_networks(state: &Path, owner: &str) -> Vec<String> {
    let anchor = format!("{}/networks/{owner}/", state.display());
    let Ok(books) = fs::read_dir("/run/openagent-networks") else {
        return Vec::new();
    };
    books
        .filter_map(|book| fs::read_to_string(book.ok()?.path()).ok())
        .flat_map(|book| {
            let anchored = book.split("\"anchor\":\"").skip(1);
            let paths = anchored.filter_map(|rest| rest.split('"').next());
            paths
                .filter(|path| path.starts_with(&anchor))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}
