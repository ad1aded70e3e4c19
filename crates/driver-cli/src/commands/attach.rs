//! `attach`.

use clap::Args;
use driver_types::ContainerDriverExt;

use crate::App;
use crate::cli::ContainerArg;
use crate::failure::{self, Outcome};
use crate::pump::{self, Ending, Wiring};
use crate::signals::Signals;
use crate::{resolve, terminal};

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    container: ContainerArg,
    /// Do not carry stdin to the process
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals such as Ctrl-C on to the process; else they only end the connection
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, value_name = "BOOL")]
    sig_proxy: bool,
}

/// Connects to the main process, and returns its exit code when it ends. Ctrl-P Ctrl-Q leaves it.
pub(crate) async fn run(app: &App, args: &AttachArgs) -> Outcome {
    let id = resolve::container(&*app.driver, &args.container.container)
        .await?
        .id;
    let mut signals = Signals::catch()?;
    let handle = app.driver.attach(&id).await?;
    // Only a process with a terminal takes a size.
    let tty = match terminal::size() {
        Some(size) => handle.resize(size).await.is_ok(),
        None => false,
    };
    let wiring = Wiring {
        stdin: !args.no_stdin,
        tty,
        detachable: true,
        owned: false,
        forward_signals: args.sig_proxy,
        limit: None,
    };
    match pump::connect(handle, wiring, &mut signals).await? {
        Ending::Detached | Ending::Impatient => Ok(0),
        Ending::TimedOut | Ending::Exited(_) | Ending::OutputEnded => {
            let exit = app.driver.wait_exit(&id).await?;
            Ok(exit.exit_code.map_or(failure::DRIVER, |code| code as u8))
        }
    }
}
