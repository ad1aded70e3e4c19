//! `volume`.

use clap::{Args, Subcommand};
use driver_types::{DriverError, VolumeConfig};

use crate::App;
use crate::cli::Format;
use crate::commands::several;
use crate::failure::Outcome;
use crate::{output, parse};

/// Arguments of `volume`.
#[derive(Debug, Args)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    pub command: VolumeCommand,
}

/// What to do with volumes.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Create a volume; an equal one that exists is fine
    Create {
        /// Name
        name: String,
        /// Size limit, as in 2g; not every driver has it
        #[arg(long, value_name = "SIZE", value_parser = parse::size_mib)]
        size: Option<u64>,
        /// Label
        #[arg(short, long, value_name = "KEY=VALUE")]
        label: Vec<String>,
    },
    /// List volumes
    Ls {
        /// Print names only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show all that is known about volumes, as a JSON array
    Inspect {
        /// Name or id
        #[arg(value_name = "VOLUME", required = true)]
        volumes: Vec<String>,
    },
    /// Remove volumes with their content
    Rm {
        /// Name or id
        #[arg(value_name = "VOLUME", required = true)]
        volumes: Vec<String>,
    },
}

/// Runs a command on volumes.
pub(crate) async fn run(app: &App, command: VolumeCommand) -> Outcome {
    match command {
        VolumeCommand::Create { name, size, label } => {
            let config = VolumeConfig {
                name,
                size_mib: size,
                labels: label.iter().map(|label| parse::key_value(label)).collect(),
            };
            let volume = app.driver.create_volume(&config).await?;
            match app.format {
                Format::Table => output::line(&volume.name)?,
                Format::Json => output::json(&volume)?,
            }
            Ok(0)
        }
        VolumeCommand::Ls { quiet } => list(app, quiet).await,
        VolumeCommand::Inspect { volumes } => {
            several::inspect(app, &volumes, async |name| {
                let found = app.driver.get_volume(name).await?;
                found.ok_or_else(|| DriverError::volume_not_found(name))
            })
            .await
        }
        VolumeCommand::Rm { volumes } => {
            several::each(app, &volumes, async |name| app.driver.remove_volume(name).await).await
        }
    }
}

async fn list(app: &App, quiet: bool) -> Outcome {
    let volumes = app.driver.list_volumes().await?;
    match app.format {
        Format::Json => output::json(&volumes)?,
        Format::Table if quiet => {
            for volume in &volumes {
                output::line(&volume.name)?;
            }
        }
        Format::Table => {
            let rows = volumes.into_iter().map(|volume| {
                let size = volume
                    .size_mib
                    .map_or_else(|| "-".to_owned(), |size| format!("{size}MiB"));
                [
                    volume.name,
                    volume.driver,
                    size,
                    volume.mountpoint.unwrap_or_else(|| "-".to_owned()),
                ]
            });
            output::table(&["NAME", "DRIVER", "SIZE LIMIT", "MOUNTPOINT"], rows)?;
        }
    }
    Ok(0)
}
