//! `conformance-report`: joins the JSON reports of several test programs into one and judges it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use driver_conformance::{Format, conclude, read_reports};

/// Joins JSON reports of the conformance suite; succeeds only if no case failed, every required driver ran, and at
/// least one case ran.
#[derive(Debug, Parser)]
struct Arguments {
    /// Fail unless these drivers ran, with commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    require: Vec<String>,
    /// How to print the results
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    format: Format,
    /// Write the results to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// JSON reports
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let concluded = read_reports(&arguments.files).and_then(|mut report| {
        if arguments.format == Format::Json {
            report.drivers.iter_mut().for_each(|driver| driver.details = None);
        }
        conclude(
            &report,
            arguments.format,
            arguments.output.as_deref(),
            &arguments.require,
        )
    });
    concluded.unwrap_or_else(|error| {
        eprintln!("conformance-report: {error}");
        ExitCode::from(2)
    })
}
