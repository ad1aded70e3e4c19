//! `validate`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use driver_types::{
    ContainerConfig, ContainerFilter, DriverError, EventFilter, ExecSpec, ImportOptions, LogOptions,
    NetworkConfig, PullRequest, ReapPolicy, RemoveOptions, ResourceLimits, Result, SecurityOptions,
    StopOptions, Violation, VolumeConfig,
};
use driver_validation::{Input, MAX_DOCUMENT_BYTES, validate_json};
use serde::Serialize;

use crate::cli::Format;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// What the file is to be
    #[arg(long = "type", value_name = "TYPE", default_value = "ContainerConfig",
          value_parser = clap::builder::PossibleValuesParser::new(TYPES.iter().map(|(name, _)| *name)))]
    kind: String,
    /// JSON file; `-` for stdin
    file: PathBuf,
}

type Check = fn(&str) -> Result<()>;

/// The input types by name.
const TYPES: &[(&str, Check)] = &[
    ("ContainerConfig", check::<ContainerConfig>),
    ("ContainerFilter", check::<ContainerFilter>),
    ("EventFilter", check::<EventFilter>),
    ("ExecSpec", check::<ExecSpec>),
    ("ImportOptions", check::<ImportOptions>),
    ("LogOptions", check::<LogOptions>),
    ("NetworkConfig", check::<NetworkConfig>),
    ("PullRequest", check::<PullRequest>),
    ("ReapPolicy", check::<ReapPolicy>),
    ("RemoveOptions", check::<RemoveOptions>),
    ("ResourceLimits", check::<ResourceLimits>),
    ("SecurityOptions", check::<SecurityOptions>),
    ("StopOptions", check::<StopOptions>),
    ("VolumeConfig", check::<VolumeConfig>),
];

fn check<T: Input>(text: &str) -> Result<()> {
    validate_json::<T>(text).map(drop)
}

/// The verdict on a document.
#[derive(Debug, Serialize)]
struct Verdict {
    /// Whether nothing is wrong.
    valid: bool,
    /// Everything that is wrong.
    violations: Vec<Violation>,
}

/// Checks a document, prints the verdict, and returns 0 or 1.
pub(crate) fn run(args: &ValidateArgs, format: Format) -> Outcome {
    let text = read(&args.file)?;
    let check = TYPES
        .iter()
        .find(|(name, _)| *name == args.kind)
        .map(|(_, check)| check);
    let check = check.ok_or_else(|| Failure::usage(format!("there is no input type `{}`", args.kind)))?;
    let violations = match check(&text) {
        Ok(()) => Vec::new(),
        Err(error) if error.violation_list().is_empty() => return Err(error.into()),
        Err(error) => error.violation_list().to_vec(),
    };
    let verdict = Verdict {
        valid: violations.is_empty(),
        violations,
    };
    match format {
        Format::Json => output::json(&verdict)?,
        Format::Table if verdict.valid => output::line(format!("valid {}", args.kind))?,
        Format::Table => {
            let rows = verdict.violations.iter().map(|violation| {
                let hint = violation.hint.clone().unwrap_or_default();
                let pointer = if violation.pointer.is_empty() {
                    "(document)"
                } else {
                    &violation.pointer
                };
                [pointer.to_owned(), violation.message.clone(), hint]
            });
            output::table(&["FIELD", "WHAT IS WRONG", "WAY OUT"], rows)?;
        }
    }
    if verdict.valid {
        Ok(0)
    } else {
        Err(Failure::Silent(1))
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let cannot =
        |error: std::io::Error| DriverError::file_system(format!("cannot read {}: {error}", file.display()));
    let mut text = String::new();
    // One byte more than is looked at, so that a longer document is refused and not cut.
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        let opened = std::fs::File::open(file).map_err(cannot)?;
        opened.take(limit).read_to_string(&mut text)
    };
    read.map_err(cannot)?;
    Ok(text)
}
