//! The report for people: a table of drivers by groups, then the failures.

use std::fmt::Write;

use super::{CaseReport, DriverReport, Outcome, Report, RunStatus, Summary};

pub(super) fn render(report: &Report) -> String {
    let ran: Vec<_> = report
        .drivers
        .iter()
        .filter(|driver| driver.status == RunStatus::Ran)
        .collect();
    let mut text = table(&ran);
    for driver in &report.drivers {
        if let Some(reason) = &driver.reason {
            let what = if driver.status == RunStatus::Ran {
                "problem"
            } else {
                "unavailable"
            };
            let _ = writeln!(
                text,
                "\n{} {what}: {}",
                driver.name,
                indent(reason, 2).trim_start()
            );
        }
    }
    for driver in &ran {
        skips(&mut text, driver);
    }
    for driver in &ran {
        for case in driver.cases.iter().filter(|case| case.outcome == Outcome::Failed) {
            failure(&mut text, driver, case);
        }
    }
    let Summary {
        passed,
        failed,
        skipped,
    } = report.summary;
    let _ = writeln!(text, "\n{passed} passed, {failed} failed, {skipped} skipped");
    text
}

/// The names of all groups, in the order of the first driver that has them.
pub(super) fn groups<'a>(drivers: &[&'a DriverReport]) -> Vec<&'a str> {
    let mut groups = Vec::new();
    for case in drivers.iter().flat_map(|driver| &driver.cases) {
        if !groups.contains(&case.group()) {
            groups.push(case.group());
        }
    }
    groups
}

pub(super) fn group_summary(driver: &DriverReport, group: &str) -> Summary {
    Summary::of(driver.cases.iter().filter(|case| case.group() == group))
}

fn table(drivers: &[&DriverReport]) -> String {
    if drivers.is_empty() {
        return "no driver ran\n".to_owned();
    }
    let mut rows = vec![(
        "group".to_owned(),
        drivers
            .iter()
            .map(|driver| driver.name.clone())
            .collect::<Vec<_>>(),
    )];
    for group in groups(drivers) {
        rows.push((
            group.to_owned(),
            drivers
                .iter()
                .map(|driver| cell(group_summary(driver, group)))
                .collect(),
        ));
    }
    rows.push((
        "all".to_owned(),
        drivers.iter().map(|driver| cell(driver.summary)).collect(),
    ));
    let first = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, cells) in &rows {
        let _ = write!(text, "{name:first$}");
        for (column, cell) in cells.iter().enumerate() {
            let width = rows
                .iter()
                .map(|(_, cells)| cells[column].len())
                .max()
                .unwrap_or_default();
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

fn cell(summary: Summary) -> String {
    let mut parts = vec![format!("{} ok", summary.passed)];
    if summary.failed > 0 {
        parts.push(format!("{} FAILED", summary.failed));
    }
    if summary.skipped > 0 {
        parts.push(format!("{} skipped", summary.skipped));
    }
    if summary == Summary::default() {
        "-".to_owned()
    } else {
        parts.join(", ")
    }
}

/// The reasons of the skips, each with the number of its cases.
fn skips(text: &mut String, driver: &DriverReport) {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for case in driver
        .cases
        .iter()
        .filter(|case| case.outcome == Outcome::Skipped)
    {
        let reason = case.reason.as_deref().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    if !reasons.is_empty() {
        let _ = writeln!(text, "\nskipped on {}:", driver.name);
    }
    for (reason, count) in reasons {
        let _ = writeln!(text, "  {count:3} x {reason}");
    }
}

fn failure(text: &mut String, driver: &DriverReport, case: &CaseReport) {
    let reason = case.reason.as_deref().unwrap_or_default();
    let _ = writeln!(
        text,
        "\nFAILED {} on {} ({} ms)",
        case.id, driver.name, case.duration_ms
    );
    let _ = writeln!(text, "{}", indent(reason, 2));
    let _ = writeln!(
        text,
        "  run it alone: cargo xtask conformance --driver {} --case {}",
        driver.name, case.id
    );
}

fn indent(text: &str, by: usize) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("{:by$}{line}", "")).collect();
    lines.join("\n")
}
