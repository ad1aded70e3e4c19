//! `stats`.

use std::io::IsTerminal;

use clap::Args;
use driver_types::{ContainerFilter, ContainerInstance, ContainerState, ContainerStats, DriverError};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};

use crate::App;
use crate::cli::Format;
use crate::failure::{Failure, Outcome};
use crate::{output, parse, resolve};

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Print one reading and end
    #[arg(long)]
    no_stream: bool,
    /// Time between two readings, at least 100ms
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "1s")]
    interval: u64,
    /// Id, unique beginning of an id, or name; all running containers where none is given
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Shows what containers use. With JSON: an array of `ContainerStats` in the order of the arguments, or, while it
/// streams, one a line for a single container.
pub(crate) async fn run(app: &App, args: &StatsArgs) -> Outcome {
    let containers = chosen(app, args).await?;
    match (app.format, args.no_stream) {
        (Format::Json, true) => {
            let readings = containers
                .iter()
                .map(|container| app.driver.container_stats(&container.id));
            output::json(&try_join_all(readings).await?)?;
            Ok(0)
        }
        (Format::Json, false) => {
            let [container] = containers.as_slice() else {
                return Err(Failure::usage(
                    "a stream of JSON is of one container; name one, or add --no-stream",
                ));
            };
            let mut readings = app.driver.stream_stats(&container.id, args.interval).await?;
            while let Some(reading) = readings.next().await {
                output::json_line(&reading?)?;
            }
            Ok(0)
        }
        (Format::Table, no_stream) => watch(app, &containers, args.interval, no_stream).await,
    }
}

async fn chosen(app: &App, args: &StatsArgs) -> Result<Vec<ContainerInstance>, DriverError> {
    if args.containers.is_empty() {
        let filter = ContainerFilter {
            state: Some(ContainerState::Running),
            ..ContainerFilter::default()
        };
        return app.driver.list_containers(&filter).await;
    }
    let found = args
        .containers
        .iter()
        .map(|text| resolve::container(&*app.driver, text));
    try_join_all(found).await
}

/// A container with its last two readings: use of the processor is what lies between them.
#[derive(Default)]
struct Row {
    name: String,
    before: Option<ContainerStats>,
    last: Option<ContainerStats>,
    readings: u32,
}

impl Row {
    /// Whether there is enough to show: use of the processor, unless the engine does not tell it.
    fn is_complete(&self) -> bool {
        cpu_percent(self).is_some() || self.readings >= MAX_READINGS
    }
}

/// After so many readings use of the processor is not waited for any more.
const MAX_READINGS: u32 = 4;

/// Prints a table after each round of readings; ends when all containers have ended, or after the first full round.
async fn watch(app: &App, containers: &[ContainerInstance], interval: u64, once: bool) -> Outcome {
    let opened = containers
        .iter()
        .map(|container| app.driver.stream_stats(&container.id, interval));
    let streams = try_join_all(opened).await?;
    let mut rows: Vec<Row> = containers
        .iter()
        .map(|container| Row {
            name: container.name.clone(),
            ..Row::default()
        })
        .collect();
    if rows.is_empty() {
        return print(&rows).map(|()| 0);
    }
    let tagged = streams.into_iter().enumerate();
    let mut readings =
        stream::select_all(tagged.map(|(index, stream)| stream.map(move |item| (index, item)).boxed()));
    let clear = std::io::stdout().is_terminal() && !once;
    let mut seen = vec![false; rows.len()];
    while let Some((index, reading)) = readings.next().await {
        let row = &mut rows[index];
        row.before = row.last.replace(reading?);
        row.readings += 1;
        seen[index] = !once || row.is_complete();
        if !seen.iter().all(|seen| *seen) {
            continue;
        }
        if clear {
            output::text("\x1b[H\x1b[2J")?;
        }
        print(&rows)?;
        if once {
            return Ok(0);
        }
        seen.fill(false);
    }
    // Some ended before the round was full.
    if once {
        print(&rows)?;
    }
    Ok(0)
}

fn print(rows: &[Row]) -> Result<(), Failure> {
    let header = [
        "NAME",
        "CPU %",
        "MEMORY / LIMIT",
        "PIDS",
        "NET RX / TX",
        "BLOCK READ / WRITTEN",
        "DISK",
    ];
    output::table(&header, rows.iter().map(cells))
}

/// What a counter shows that the engine lacks.
const ABSENT: &str = "-";

fn cells(row: &Row) -> [String; 7] {
    let last = row.last.clone().unwrap_or_default();
    let bytes = |count: Option<u64>| count.map_or_else(|| ABSENT.to_owned(), size);
    let number = |count: Option<u64>| count.map_or_else(|| ABSENT.to_owned(), |count| count.to_string());
    let network = last
        .network
        .as_ref()
        .map(|network| format!("{} / {}", size(network.rx_bytes), size(network.tx_bytes)));
    [
        row.name.clone(),
        cpu_percent(row).map_or_else(|| ABSENT.to_owned(), |percent| format!("{percent:.2}")),
        format!(
            "{} / {}",
            bytes(last.memory.current_bytes),
            bytes(last.memory.limit_bytes)
        ),
        number(last.pids.current),
        network.unwrap_or_else(|| ABSENT.to_owned()),
        format!(
            "{} / {}",
            bytes(last.block_io.read_bytes),
            bytes(last.block_io.write_bytes)
        ),
        bytes(last.disk_used_bytes),
    ]
}

/// Per cent of one core between the last two readings.
fn cpu_percent(row: &Row) -> Option<f64> {
    let (before, last) = (row.before.as_ref()?, row.last.as_ref()?);
    let used = last.cpu.usage_nanos?.checked_sub(before.cpu.usage_nanos?)?;
    let passed = last.time.checked_sub(before.time).filter(|ms| *ms > 0)?;
    Some(used as f64 / (passed as f64 * 1_000_000.0) * 100.0)
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes}B")
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use driver_types::CpuStats;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0B")]
    #[case(1023, "1023B")]
    #[case(1536, "1.5KiB")]
    #[case(512 << 20, "512.0MiB")]
    #[case(u64::MAX, "16777216.0TiB")]
    fn sizes(#[case] bytes: u64, #[case] expected: &str) {
        assert_eq!(size(bytes), expected);
    }

    fn reading(time: u64, usage: Option<u64>) -> Option<ContainerStats> {
        Some(ContainerStats {
            time,
            cpu: CpuStats {
                usage_nanos: usage,
                ..CpuStats::default()
            },
            ..ContainerStats::default()
        })
    }

    #[rstest]
    #[case(reading(0, Some(0)), reading(1000, Some(500_000_000)), Some(50.0))]
    #[case(reading(0, Some(0)), reading(0, Some(1)), None)]
    #[case(reading(0, None), reading(1000, Some(1)), None)]
    #[case(None, reading(1000, Some(1)), None)]
    fn cpu(
        #[case] before: Option<ContainerStats>,
        #[case] last: Option<ContainerStats>,
        #[case] percent: Option<f64>,
    ) {
        let row = Row {
            name: String::new(),
            before,
            last,
            readings: 2,
        };
        assert_eq!(cpu_percent(&row), percent);
    }

    #[test]
    fn absent_counters_are_not_zero() {
        let row = Row {
            name: "web".to_owned(),
            before: None,
            last: reading(0, None),
            readings: 1,
        };
        assert_eq!(
            cells(&row),
            ["web", "-", "- / -", "-", "-", "- / -", "-"].map(str::to_owned)
        );
    }
}
