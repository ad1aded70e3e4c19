//! `logs`.

use clap::Args;
use driver_types::{Capability, LogOptions, OutputStream};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::App;
use crate::cli::{ContainerArg, Format};
use crate::failure::Outcome;
use crate::{output, parse, resolve};

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Last lines only
    #[arg(short = 'n', long, value_name = "N|all", value_parser = tail, default_value = "all")]
    tail: Tail,
    /// Written at this time or later: a time, or a duration before now such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse::instant)]
    since: Option<u64>,
    /// Written before this time
    #[arg(long, value_name = "TIME", value_parser = parse::instant)]
    until: Option<u64>,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    #[command(flatten)]
    container: ContainerArg,
}

/// How many lines; `None` is all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail(Option<u64>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail(None)),
        _ => text
            .parse()
            .map(|lines| Tail(Some(lines)))
            .map_err(|_| "not a number of lines; write a number or all".to_owned()),
    }
}

/// Writes the logs: stdout to stdout and stderr to stderr, byte by byte; with JSON a `LogFrame` a line.
pub(crate) async fn run(app: &App, args: &LogsArgs) -> Outcome {
    let id = resolve::container(&*app.driver, &args.container.container)
        .await?
        .id;
    let options = LogOptions {
        tail: args.tail.0,
        since: args.since,
        until: args.until,
        timestamps: args.timestamps,
        follow: args.follow,
        ..LogOptions::default()
    };
    let plain = app.format == Format::Table && !args.follow;
    if plain && !app.driver.capabilities().await?.supports(Capability::StreamLogs) {
        output::text(&app.driver.get_container_logs(&id, &options).await?)?;
        return Ok(0);
    }
    let mut frames = app.driver.stream_logs(&id, &options).await?;
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        match (app.format, frame.stream) {
            (Format::Json, _) => output::json_line(&frame)?,
            (Format::Table, OutputStream::Stdout) => {
                stdout.write_all(&frame.data).await?;
                stdout.flush().await?;
            }
            (Format::Table, OutputStream::Stderr) => {
                stderr.write_all(&frame.data).await?;
                stderr.flush().await?;
            }
        }
    }
    Ok(0)
}
