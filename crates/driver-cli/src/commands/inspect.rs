//! `inspect`.

use clap::Args;

use crate::App;
use crate::failure::{self, Failure, Outcome};
use crate::{output, resolve};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Id, unique beginning of an id, or name
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Prints the instances as a JSON array, whatever the format: there is more in them than a table can show.
pub(crate) async fn run(app: &App, args: &InspectArgs) -> Outcome {
    let mut found = Vec::new();
    let mut failed = false;
    for text in &args.containers {
        match resolve::container(&*app.driver, text).await {
            Ok(container) => found.push(container),
            Err(error) => {
                failure::tell(&error, app.format);
                failed = true;
            }
        }
    }
    output::json_pretty(&found)?;
    if failed { Err(Failure::Silent(1)) } else { Ok(0) }
}
