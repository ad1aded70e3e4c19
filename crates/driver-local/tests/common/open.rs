//! A driver where it can run containers.

use driver_local::{LocalDriver, LocalOptions};
use driver_types::{CheckStatus, ContainerDriver};

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
