//! What tests of running containers look up beside the driver.

use std::fs;
use std::path::Path;
use std::time::Duration;

use driver_local::{LocalDriver, LocalOptions};
use driver_types::{CheckStatus, ContainerDriver};

/// The first process of a container's last run, as the journal in its directory has it.
pub(crate) fn init(container: &Path) -> i32 {
    let journal = fs::read_to_string(container.join("journal")).unwrap();
    let (_, rest) = journal.rsplit_once("\"initPid\":").unwrap();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}

/// `None`, with the reason printed: this machine cannot run containers.
pub(crate) async fn open(options: LocalOptions) -> Option<LocalDriver> {
    let driver = LocalDriver::open(options).unwrap();
    let checks = driver.preflight().await.unwrap().checks;
    if let Some(failed) = checks.iter().find(|check| check.status == CheckStatus::Fail) {
        println!("skipped: {}", failed.message);
        return None;
    }
    Some(driver)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits for what another process does; the limit is for what is broken only.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let done = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), done)
        .await
        .expect(what);
}
