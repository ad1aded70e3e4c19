//! What tests of running containers look up beside the driver.

mod open;

use std::fs;
use std::path::Path;
use std::time::Duration;

pub(crate) use open::open;

/// The first process of a container's last run, as the journal in its directory has it.
pub(crate) fn init(container: &Path) -> i32 {
    let journal = fs::read_to_string(container.join("journal")).unwrap();
    let (_, rest) = journal.rsplit_once("\"initPid\":").unwrap();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
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
