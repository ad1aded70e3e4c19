//! The command line of a test program: [`main`].

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::case::Case;
use crate::factory::DriverFactory;
use crate::glob::matches;
use crate::groups::cases;
use crate::report::{CaseReport, Format, Outcome, Report};
use crate::runner::{Progress, RunOptions, run_driver};

/// Proves drivers against the container driver contract.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these drivers, with commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    driver: Vec<String>,
    /// Fail unless these drivers ran, with commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    require: Vec<String>,
    /// Only these groups, with commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    group: Vec<String>,
    /// Only cases `group::case` that match, with * for any text and ? for any character
    #[arg(long, value_name = "GLOB")]
    case: Option<String>,
    /// Cases at the same time
    #[arg(long, value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// How to print the results
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    format: OutputFormat,
    /// Write the results to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not measure what operations cost; json and markdown of a whole run have that otherwise
    #[arg(long)]
    no_times: bool,
    /// List the cases and run none
    #[arg(long)]
    list: bool,
    /// Write what is compiled for the containers to a directory, for `DRIVER_CONFORMANCE_WORKLOAD`, and run no case
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    workload: Option<PathBuf>,
    /// As `cargo nextest` calls test programs: the suite is one test.
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(hide = true)]
    tests: Vec<String>,
}

/// The forms of a report, and the list of tests that `cargo nextest` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    Pretty,
    Json,
    Junit,
    Markdown,
    #[value(hide = true)]
    Terse,
}

/// What `cargo nextest` knows the suite as.
const TEST_NAME: &str = "conformance";

/// The `main` of a test program: runs the suite on the drivers of these factories, as the command line says.
///
/// Succeeds only if no case failed, every required driver ran, and at least one case ran.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use driver_conformance::*;
/// # #[derive(Debug)] struct MyFactory;
/// # #[async_trait::async_trait]
/// # impl DriverFactory for MyFactory {
/// #     fn name(&self) -> &str { "my" }
/// #     async fn open(&self, _: &OpenOptions) -> Result<Arc<dyn driver_types::ContainerDriver>, Unavailable> {
/// #         Err(Unavailable("an example".into()))
/// #     }
/// # }
/// fn main() -> std::process::ExitCode {
///     driver_conformance::main(vec![Arc::new(MyFactory)])
/// }
/// ```
pub fn main(factories: Vec<Arc<dyn DriverFactory>>) -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.format {
        OutputFormat::Terse => list_for_nextest(&arguments),
        _ if arguments.list => list(&arguments),
        _ if arguments.workload.is_some() => write_workload(&arguments),
        _ => run(&arguments, factories),
    };
    result.unwrap_or_else(|error| {
        eprintln!("driver-conformance: {error}");
        ExitCode::from(2)
    })
}

fn list_for_nextest(arguments: &Arguments) -> io::Result<ExitCode> {
    if !arguments.ignored {
        writeln!(io::stdout(), "{TEST_NAME}: test")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_workload(arguments: &Arguments) -> io::Result<ExitCode> {
    if let Some(directory) = &arguments.workload {
        crate::workload::write(directory).map_err(io::Error::other)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(arguments: &Arguments) -> io::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    for case in select(arguments)? {
        writeln!(stdout, "{}", case.id())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: &Arguments, factories: Vec<Arc<dyn DriverFactory>>) -> io::Result<ExitCode> {
    let wanted =
        |name: &str| arguments.driver.is_empty() || arguments.driver.iter().any(|driver| driver == name);
    let factories: Vec<_> = factories
        .into_iter()
        .filter(|factory| wanted(factory.name()))
        .collect();
    let cases = select(arguments)?;
    let whole = arguments.group.is_empty() && arguments.case.is_none();
    let options = RunOptions {
        jobs: arguments.jobs,
        measure: whole
            && !arguments.no_times
            && matches!(arguments.format, OutputFormat::Json | OutputFormat::Markdown),
    };
    let progress = ProgressLine::new(factories.len() * cases.len());
    let mut drivers = Vec::new();
    for factory in factories {
        let runtime = runtime(factory.simulated())?;
        drivers.push(runtime.block_on(run_driver(factory, &cases, options, &progress)));
    }
    progress.clear();
    let report = Report::of(drivers);
    let format = match arguments.format {
        OutputFormat::Json => Format::Json,
        OutputFormat::Junit => Format::Junit,
        OutputFormat::Markdown => Format::Markdown,
        OutputFormat::Pretty | OutputFormat::Terse => Format::Pretty,
    };
    conclude(&report, format, arguments.output.as_deref(), &arguments.require)
}

/// The runtime of one driver.
///
/// A simulated driver gets a paused clock, which moves on to the next timer as soon as nothing is left to do. So a run
/// costs what it computes, and the load of the machine cannot make a case late.
fn runtime(simulated: bool) -> io::Result<Runtime> {
    if simulated {
        Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
    } else {
        Builder::new_multi_thread().enable_all().build()
    }
}

/// Writes a report and says whether it is a success.
///
/// # Errors
///
/// Those of writing.
pub fn conclude(
    report: &Report,
    format: Format,
    output: Option<&Path>,
    required: &[String],
) -> io::Result<ExitCode> {
    let text = report.render(format);
    match output {
        Some(file) => std::fs::write(file, text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?,
        None => io::stdout().write_all(text.as_bytes())?,
    }
    let problems = report.problems(required);
    for problem in &problems {
        eprintln!("driver-conformance: {problem}");
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The cases that the command line asks for; a group or glob that matches nothing is a mistake.
fn select(arguments: &Arguments) -> io::Result<Vec<Arc<Case>>> {
    let all = cases();
    for group in &arguments.group {
        if all.iter().all(|case| case.group != group) {
            return Err(io::Error::other(format!(
                "there is no group `{group}`; see --list"
            )));
        }
    }
    let wanted = |case: &Case| {
        (arguments.group.is_empty() || arguments.group.iter().any(|group| group == case.group))
            && arguments.case.as_ref().is_none_or(|glob| matches(glob, &case.id))
    };
    let selected: Vec<_> = all
        .into_iter()
        .filter(|case| wanted(case))
        .map(Arc::new)
        .collect();
    if selected.is_empty() {
        return Err(io::Error::other("no case matches; see --list"));
    }
    Ok(selected)
}

/// One line on the terminal that tells how far the run is.
struct ProgressLine {
    total: usize,
    /// Cases that ended and cases that failed; none where stderr is no terminal.
    counts: Option<Mutex<(usize, usize)>>,
}

impl ProgressLine {
    fn new(total: usize) -> Self {
        Self {
            total,
            counts: io::stderr().is_terminal().then(Mutex::default),
        }
    }

    fn clear(&self) {
        if self.counts.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

impl Progress for ProgressLine {
    fn ended(&self, driver: &str, case: &CaseReport) {
        let Some(counts) = &self.counts else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 += 1;
        counts.1 += usize::from(case.outcome == Outcome::Failed);
        let (ended, failed) = *counts;
        eprint!(
            "\r\x1b[K{ended}/{} {driver} {} ({failed} failed)",
            self.total, case.id
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::runtime::{Handle, RuntimeFlavor};

    use super::*;

    #[test]
    fn a_simulated_driver_waits_on_a_paused_clock() {
        let waited = runtime(true).unwrap().block_on(async {
            let started = tokio::time::Instant::now();
            tokio::time::sleep(Duration::from_secs(86_400)).await;
            started.elapsed()
        });
        assert_eq!(waited.as_secs(), 86_400);
    }

    #[test]
    fn a_real_driver_has_real_time_and_threads() {
        runtime(false).unwrap().block_on(async {
            assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
            let started = Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(started.elapsed() >= Duration::from_millis(5));
        });
    }
}
