//! `inspect`.

use clap::Args;

use super::several;
use crate::failure::Outcome;
use crate::{App, resolve};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Id, unique beginning of an id, or name
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Prints the instances.
pub(crate) async fn run(app: &App, args: &InspectArgs) -> Outcome {
    several::inspect(app, &args.containers, async |text| {
        resolve::container(&*app.driver, text).await
    })
    .await
}
