//! The commands, one family a file.

pub(crate) mod attach;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod engine;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod logs;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod shell;
pub(crate) mod stats;
pub(crate) mod update;
pub(crate) mod validate;
pub(crate) mod volume;

use driver_types::{Capability, ShutdownMode};

use crate::App;

/// Lets the driver finish what a dropped future has left to do. Containers stay as they are.
async fn finish(app: &App) {
    let can = app
        .driver
        .capabilities()
        .await
        .is_ok_and(|can| can.supports(Capability::Shutdown));
    if can {
        // We are on the way out because the user asked; there is nothing else to tell.
        drop(app.driver.shutdown(ShutdownMode::Leave).await);
    }
}
