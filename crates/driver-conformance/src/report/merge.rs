//! Joins the reports of several test programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Report;

/// Reads JSON reports and joins them, in the order of the files.
///
/// # Errors
///
/// A file that cannot be read or is no report; the error names it.
pub fn read_reports(files: &[PathBuf]) -> io::Result<Report> {
    let mut drivers = Vec::new();
    for file in files {
        drivers.extend(read_report(file)?.drivers);
    }
    Ok(Report::of(drivers))
}

fn read_report(file: &Path) -> io::Result<Report> {
    let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| named(&error))?;
    serde_json::from_str(&text).map_err(|error| named(&error))
}
