//! What goes to stdout: JSON in the wire form, and tables for people.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::Table;
use serde::Serialize;

use crate::failure::Failure;

/// Writes one JSON document: indented on a terminal, else on one line.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    } else {
        serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    }
    finish_line(out)
}

/// Writes one JSON document, indented.
pub(crate) fn json_pretty<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    finish_line(out)
}

/// Writes one item of a stream as one line of JSON.
pub(crate) fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    finish_line(out)
}

fn finish_line(mut out: io::StdoutLock<'_>) -> Result<(), Failure> {
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes a line of text.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", printable(&text.to_string()))?;
    Ok(out.flush()?)
}

/// Writes text as it is.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a table without lines: a header and rows.
pub(crate) fn table<R: IntoIterator<Item = String>>(
    header: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> Result<(), Failure> {
    text(&render(header, rows))
}

fn render<R: IntoIterator<Item = String>>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

/// Text with control characters made visible, so that a name or message cannot steer the terminal. Tabs stay.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_harmless() {
        let rows = [
            ["a".to_owned(), "running".to_owned()],
            ["longer\u{1b}[2J".to_owned(), String::new()],
        ];
        insta::assert_snapshot!(render(&["NAME", "STATUS"], rows), @r"
        NAME        STATUS
        a           running
        longer�[2J
        ");
    }
}
