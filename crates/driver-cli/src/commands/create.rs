//! `create`.

use clap::Args;

use crate::App;
use crate::cli::Format;
use crate::config_args::ConfigArgs;
use crate::failure::Outcome;
use crate::output;

/// Arguments of `create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Creates a container and prints its id, or the instance as JSON.
pub(crate) async fn run(app: &App, args: CreateArgs) -> Outcome {
    let config = args.config.into_config()?;
    let container = app.driver.create_container(&config).await?;
    match app.format {
        Format::Table => output::line(&container.id)?,
        Format::Json => output::json(&container)?,
    }
    Ok(0)
}
