//! `ps`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use driver_types::{ContainerFilter, ContainerInstance, ContainerState, ContainerStatus, HealthStatus};

use crate::App;
use crate::cli::Format;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Show containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Show the containers of every owner
    #[arg(long)]
    all_owners: bool,
    /// status=, state=, session=, name= (beginning), label=KEY=VALUE; all must hold, several of status any of them
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Characters of an id that are shown.
const SHORT_ID: usize = 12;

/// Lists containers, oldest first.
pub(crate) async fn run(app: &App, args: &PsArgs) -> Outcome {
    let filter = filter(args)?;
    let containers = app.driver.list_containers(&filter).await?;
    let shown = |id: &str| -> String {
        if args.no_trunc {
            id.to_owned()
        } else {
            id.chars().take(SHORT_ID).collect()
        }
    };
    if app.format == Format::Json {
        output::json(&containers)?;
    } else if args.quiet {
        for container in &containers {
            output::line(shown(&container.id))?;
        }
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let header = [
            "CONTAINER ID",
            "NAME",
            "IMAGE",
            "STATUS",
            "CREATED",
            "PORTS",
            "SESSION",
        ];
        let rows = containers.iter().map(|container| {
            let ports: Vec<_> = container.ports.iter().map(ToString::to_string).collect();
            [
                shown(&container.id),
                container.name.clone(),
                container.image.clone(),
                status(container, now),
                format!("{} ago", age(now, container.created_at)),
                ports.join(", "),
                container.session_id.clone(),
            ]
        });
        output::table(&header, rows)?;
    }
    Ok(0)
}

fn filter(args: &PsArgs) -> Result<ContainerFilter, Failure> {
    let mut filter = ContainerFilter {
        all_owners: args.all_owners,
        ..ContainerFilter::default()
    };
    let mut any_status = args.all;
    for text in &args.filter {
        let unknown = || {
            Failure::usage(format!(
                "--filter `{text}`: use status=STATUS, state=STATE, session=ID, name=BEGINNING or label=KEY=VALUE"
            ))
        };
        match text.split_once('=').ok_or_else(unknown)? {
            ("status", value) => {
                filter.status.push(status_named(value)?);
                any_status = true;
            }
            ("state", value) => {
                filter.state = Some(state_named(value)?);
                any_status = true;
            }
            ("session", value) => filter.session_id = Some(value.to_owned()),
            ("name", value) => filter.name_prefix = Some(value.to_owned()),
            ("label", value) => {
                let (key, value) = value.split_once('=').ok_or_else(unknown)?;
                filter.labels.insert(key.to_owned(), value.to_owned());
            }
            _ => return Err(unknown()),
        }
    }
    if !any_status {
        filter.status = vec![ContainerStatus::Running, ContainerStatus::Paused];
    }
    Ok(filter)
}

fn status_named(name: &str) -> Result<ContainerStatus, Failure> {
    let known = ContainerStatus::ALL;
    known
        .into_iter()
        .find(|status| status.name() == name)
        .ok_or_else(|| {
            let names = known.map(ContainerStatus::name).join(", ");
            Failure::usage(format!(
                "--filter status: `{name}` is not a status; use one of {names}"
            ))
        })
}

fn state_named(name: &str) -> Result<ContainerState, Failure> {
    Ok(match name {
        "running" => ContainerState::Running,
        "terminated" => ContainerState::Terminated,
        "error" => ContainerState::Error,
        _ => {
            let message =
                format!("--filter state: `{name}` is not a state; use running, terminated or error");
            return Err(Failure::usage(message));
        }
    })
}

fn status(container: &ContainerInstance, now: u64) -> String {
    let code = || match &container.exit {
        Some(exit) => match exit.exit_code {
            Some(code) => format!(" ({code}, {})", exit.reason),
            None => format!(" ({})", exit.reason),
        },
        None => String::new(),
    };
    let since = |time: Option<u64>| time.map(|time| age(now, time)).unwrap_or_default();
    let health = match container.health.as_ref().map(|health| health.status) {
        Some(HealthStatus::Healthy) => " (healthy)",
        Some(HealthStatus::Unhealthy) => " (unhealthy)",
        Some(HealthStatus::Starting) => " (health: starting)",
        None => "",
    };
    match container.status {
        ContainerStatus::Running => format!("running {}{health}", since(container.started_at)),
        ContainerStatus::Exited | ContainerStatus::Stopped => {
            format!(
                "{}{} {} ago",
                container.status,
                code(),
                since(container.finished_at)
            )
        }
        status => status.to_string(),
    }
}

/// How long ago, in the largest whole unit.
fn age(now: u64, then: u64) -> String {
    let seconds = now.saturating_sub(then) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ps: PsArgs,
    }

    fn parsed(line: &[&str]) -> Result<ContainerFilter, Failure> {
        let line = Line::try_parse_from(std::iter::once("ps").chain(line.iter().copied())).expect("a line");
        filter(&line.ps)
    }

    #[test]
    fn only_what_runs_without_all() {
        let filter = parsed(&[]).expect("a filter");
        assert_eq!(filter.status, [ContainerStatus::Running, ContainerStatus::Paused]);
        assert_eq!(parsed(&["-a"]).expect("a filter"), ContainerFilter::default());
    }

    #[test]
    fn filters_are_collected() {
        let line = [
            "-f",
            "status=exited",
            "-f",
            "status=dead",
            "-f",
            "session=s",
            "-f",
            "label=a=b",
            "-f",
            "name=w",
        ];
        let expected = ContainerFilter {
            session_id: Some("s".to_owned()),
            status: vec![ContainerStatus::Exited, ContainerStatus::Dead],
            labels: [("a".to_owned(), "b".to_owned())].into(),
            name_prefix: Some("w".to_owned()),
            ..ContainerFilter::default()
        };
        assert_eq!(parsed(&line).expect("a filter"), expected);
    }

    #[rstest]
    #[case("status=up", "created, running")]
    #[case("state=up", "terminated")]
    #[case("label=a", "label=KEY=VALUE")]
    #[case("color=red", "session=ID")]
    #[case("x", "status=STATUS")]
    fn bad_filters_name_the_way_out(#[case] text: &str, #[case] expected: &str) {
        match parsed(&["-f", text]) {
            Err(Failure::Usage(message)) => assert!(message.contains(expected), "{message}"),
            other => panic!("expected a usage error, got {other:?}"),
        }
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(59_999, "59s")]
    #[case(60_000, "1m")]
    #[case(7_200_000, "2h")]
    #[case(259_200_000, "3d")]
    fn ages(#[case] ms: u64, #[case] expected: &str) {
        assert_eq!(age(1_000_000_000 + ms, 1_000_000_000), expected);
    }
}
