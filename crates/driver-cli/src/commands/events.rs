//! `events`.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use driver_types::{Event, EventFilter, EventKind};
use futures_util::StreamExt;

use crate::App;
use crate::cli::Format;
use crate::failure::Outcome;
use crate::{output, resolve};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Of this container only
    #[arg(long, value_name = "CONTAINER")]
    container: Option<String>,
    /// Of containers of this session only
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Of this kind only, such as started or exited
    #[arg(long = "type", value_name = "KIND")]
    types: Vec<String>,
}

/// Prints events until it is interrupted; with JSON an `Event` a line.
pub(crate) async fn run(app: &App, args: &EventsArgs) -> Outcome {
    let container_id = match &args.container {
        Some(text) => Some(resolve::container(&*app.driver, text).await?.id),
        None => None,
    };
    let filter = EventFilter {
        container_id,
        session_id: args.session.clone(),
        types: args.types.clone(),
    };
    let mut events = app.driver.events(&filter).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        match app.format {
            Format::Json => output::json_line(&event)?,
            Format::Table => output::line(describe(&event))?,
        }
    }
    Ok(0)
}

fn describe(event: &Event) -> String {
    let time = UNIX_EPOCH
        .checked_add(Duration::from_millis(event.time))
        .unwrap_or(UNIX_EPOCH);
    let time = humantime::format_rfc3339_millis(time);
    let detail = match &event.kind {
        EventKind::Exited { exit } => {
            let code = exit
                .exit_code
                .map_or_else(|| "?".to_owned(), |code| code.to_string());
            format!(" code={code} reason={}", exit.reason)
        }
        EventKind::Health { status } => format!(" status={}", format!("{status:?}").to_lowercase()),
        EventKind::ImageAdded { reference } | EventKind::ImageRemoved { reference } => {
            format!(" {reference}")
        }
        EventKind::VolumeCreated { name }
        | EventKind::VolumeRemoved { name }
        | EventKind::NetworkCreated { name }
        | EventKind::NetworkRemoved { name } => format!(" {name}"),
        EventKind::Lagged => " events were lost; list again".to_owned(),
        _ => String::new(),
    };
    let container = event
        .container_id
        .as_deref()
        .map(|id| format!(" {id}"))
        .unwrap_or_default();
    let session = event
        .session_id
        .as_deref()
        .map(|id| format!(" session={id}"))
        .unwrap_or_default();
    format!("{time} {}{container}{session}{detail}", event.kind.name())
}

#[cfg(test)]
mod tests {
    use driver_types::{ExitInfo, ExitReason};

    use super::*;

    #[test]
    fn events_are_one_line() {
        let exit = ExitInfo {
            exit_code: Some(3),
            signal: None,
            reason: ExitReason::Exited,
            finished_at: 0,
        };
        let event = Event {
            time: 1_500,
            container_id: Some("c1".to_owned()),
            session_id: Some("s".to_owned()),
            kind: EventKind::Exited { exit },
        };
        insta::assert_snapshot!(describe(&event), @"1970-01-01T00:00:01.500Z exited c1 session=s code=3 reason=exited");
    }
}
