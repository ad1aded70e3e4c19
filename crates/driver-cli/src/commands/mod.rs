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
mod several;
pub(crate) mod shell;
pub(crate) mod stats;
pub(crate) mod update;
pub(crate) mod validate;
pub(crate) mod volume;

use std::time::Duration;

use driver_types::ShutdownMode;

use crate::App;
use crate::failure::Outcome;
use crate::signals::Signals;

/// How long the driver may take to finish what an interrupted command has left to do.
const FINISH: Duration = Duration::from_secs(10);

/// Runs a command that a signal may interrupt: it is dropped, and the driver cleans up what was half-made.
pub(crate) async fn interruptible(app: &App, command: impl Future<Output = Outcome>) -> Outcome {
    let mut signals = Signals::catch()?;
    tokio::select! {
        outcome = command => outcome,
        signal = signals.next_end() => {
            finish(app).await;
            Ok(signal.exit_code() as u8)
        }
    }
}

/// Lets the driver finish what a dropped future has left to do. Containers stay as they are.
async fn finish(app: &App) {
    // The user asked to end, and a driver that cannot shut down has nothing to finish.
    drop(tokio::time::timeout(FINISH, app.driver.shutdown(ShutdownMode::Leave)).await);
}
