//! `network`.

use clap::{Args, Subcommand};
use driver_types::{DriverError, NetworkConfig};

use crate::App;
use crate::cli::Format;
use crate::commands::several;
use crate::failure::Outcome;
use crate::{output, parse};

/// Arguments of `network`.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    pub command: NetworkCommand,
}

/// What to do with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Create a network; an equal one that exists is fine
    Create {
        /// Name
        name: String,
        /// No way out: members reach only each other
        #[arg(long)]
        internal: bool,
        /// IPv4 subnet, as in 10.1.2.0/24
        #[arg(long, value_name = "CIDR")]
        subnet: Option<String>,
        /// Label
        #[arg(short, long, value_name = "KEY=VALUE")]
        label: Vec<String>,
    },
    /// List networks
    Ls {
        /// Print names only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show all that is known about networks, as a JSON array
    Inspect {
        /// Name or id
        #[arg(value_name = "NETWORK", required = true)]
        networks: Vec<String>,
    },
    /// Remove networks
    Rm {
        /// Name or id
        #[arg(value_name = "NETWORK", required = true)]
        networks: Vec<String>,
    },
}

/// Runs a command on networks.
pub(crate) async fn run(app: &App, command: NetworkCommand) -> Outcome {
    match command {
        NetworkCommand::Create {
            name,
            internal,
            subnet,
            label,
        } => {
            let config = NetworkConfig {
                name,
                internal,
                subnet,
                labels: label.iter().map(|label| parse::key_value(label)).collect(),
            };
            let network = app.driver.create_network(&config).await?;
            match app.format {
                Format::Table => output::line(&network.name)?,
                Format::Json => output::json(&network)?,
            }
            Ok(0)
        }
        NetworkCommand::Ls { quiet } => list(app, quiet).await,
        NetworkCommand::Inspect { networks } => {
            several::inspect(app, &networks, async |name| {
                let found = app.driver.get_network(name).await?;
                found.ok_or_else(|| DriverError::network_not_found(name))
            })
            .await
        }
        NetworkCommand::Rm { networks } => {
            several::each(app, &networks, async |name| app.driver.remove_network(name).await).await
        }
    }
}

async fn list(app: &App, quiet: bool) -> Outcome {
    let networks = app.driver.list_networks().await?;
    match app.format {
        Format::Json => output::json(&networks)?,
        Format::Table if quiet => {
            for network in &networks {
                output::line(&network.name)?;
            }
        }
        Format::Table => {
            let rows = networks.into_iter().map(|network| {
                let internal = if network.internal { "yes" } else { "no" };
                let id: String = network.id.chars().take(12).collect();
                [
                    id,
                    network.name,
                    network.subnet.unwrap_or_else(|| "-".to_owned()),
                    internal.to_owned(),
                ]
            });
            output::table(&["NETWORK ID", "NAME", "SUBNET", "INTERNAL"], rows)?;
        }
    }
    Ok(0)
}
