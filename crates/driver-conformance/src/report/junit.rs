//! The report in JUnit's XML, as continuous integration reads it.

use std::fmt::Write;

use super::{CaseReport, DriverReport, Outcome, Report, RunStatus};

pub(super) fn render(report: &Report) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let summary = report.summary;
    let total = summary.ran() + summary.skipped;
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "<testsuites name=\"driver-conformance\" tests=\"{total}\" failures=\"{}\" skipped=\"{}\">",
        summary.failed, summary.skipped
    );
    for driver in &report.drivers {
        suite(&mut xml, driver);
    }
    xml + "</testsuites>\n"
}

fn suite(xml: &mut String, driver: &DriverReport) {
    let summary = driver.summary;
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{}\">",
        escape(&driver.name),
        summary.ran() + summary.skipped,
        summary.failed,
        summary.skipped,
        seconds(driver.cases.iter().map(|case| case.duration_ms).sum()),
    );
    if driver.status == RunStatus::Unavailable {
        let reason = driver.reason.as_deref().unwrap_or_default();
        let _ = writeln!(
            xml,
            "    <system-err>unavailable: {}</system-err>",
            escape(reason)
        );
    }
    for case in &driver.cases {
        test(xml, &driver.name, case);
    }
    xml.push_str("  </testsuite>\n");
}

fn test(xml: &mut String, driver: &str, case: &CaseReport) {
    let name = case
        .id
        .split_once("::")
        .map_or(case.id.as_str(), |(_, name)| name);
    let _ = write!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escape(&format!("{driver}.{}", case.group())),
        escape(name),
        seconds(case.duration_ms),
    );
    let reason = escape(case.reason.as_deref().unwrap_or_default());
    let _ = match case.outcome {
        Outcome::Passed => writeln!(xml, "/>"),
        Outcome::Skipped => writeln!(xml, "><skipped message=\"{reason}\"/></testcase>"),
        Outcome::Failed => writeln!(
            xml,
            "><failure message=\"{name}\">{reason}</failure></testcase>",
            name = escape(name)
        ),
    };
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Escapes text for XML 1.0, which has no way to say most control characters.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(' '),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
