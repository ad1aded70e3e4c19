//! Writes the generated tables of the contract page from the tables in code.
//!
//! `contract-docs FILE [--check]`: each block between `<!-- generated: NAME -->` and `<!-- end -->` is replaced by the
//! table of that name. With `--check` nothing is written, and a block that is out of date is an error.

use std::fmt::Write as _;
use std::process::ExitCode;

use driver_types::{Action, Capability, ContainerStatus, ErrorKind, Operation, Repeat, Transition};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: contract-docs FILE [--check]")?;
    let check = arguments.next().as_deref() == Some("--check");
    let old = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let new = fill(&old)?;
    match (old == new, check) {
        (true, _) => Ok(()),
        (false, true) => Err(format!("{path} is out of date; run `cargo xtask schema`").into()),
        (false, false) => Ok(std::fs::write(&path, new)?),
    }
}

fn fill(text: &str) -> Result<String, String> {
    const BEGIN: &str = "<!-- generated: ";
    const END: &str = "<!-- end -->";
    let mut pieces = text.split(BEGIN);
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(" -->").ok_or("a marker has no end")?;
        let (_, rest) = rest
            .split_once(END)
            .ok_or_else(|| format!("block {name} has no `{END}`"))?;
        let table = match name {
            "state-table" => state_table(),
            "operation-table" => operation_table(),
            "error-table" => error_table(),
            "capability-table" => capability_table(),
            _ => return Err(format!("there is no generated table `{name}`")),
        };
        let _ = write!(filled, "{BEGIN}{name} -->\n\n{table}\n{END}{rest}");
    }
    Ok(filled)
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    cells
        .into_iter()
        .fold("|".to_owned(), |row, cell| row + " " + &cell + " |")
        + "\n"
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    rows.into_iter().fold(
        row(head.iter().map(ToString::to_string)) + &rule,
        |table, cells| table + &row(cells),
    )
}

fn state_table() -> String {
    let head: Vec<_> = std::iter::once("from")
        .chain(Action::ALL.map(Action::name))
        .collect();
    let cell = |status: ContainerStatus, action| match status.transition(action) {
        Transition::To(next) => next.to_string(),
        Transition::NoOp => "no-op".to_owned(),
        Transition::Gone => "gone".to_owned(),
        Transition::InvalidState => "error".to_owned(),
        Transition::RemoveRefused => "ContainerRemove error".to_owned(),
        Transition::Impossible => "-".to_owned(),
    };
    let rows = ContainerStatus::ALL.map(|status| {
        std::iter::once(status.to_string())
            .chain(Action::ALL.map(|action| cell(status, action)))
            .collect()
    });
    table(&head, rows)
        + "\nA start after the first is a new run: `startedAt` is new, `exit` is cleared, `restarts` grows by one.\n"
}

fn operation_table() -> String {
    let head = [
        "operation",
        "request",
        "response",
        "changes",
        "repeat",
        "capability",
        "permission",
        "deadline",
    ];
    let rows = Operation::ALL.iter().map(|operation| {
        let info = operation.info();
        let repeat = match info.repeat {
            Repeat::Safe => "safe",
            Repeat::WithRequestId => "with requestId",
            Repeat::Never => "never",
        };
        let deadline = info.deadline.map_or_else(
            || "none".to_owned(),
            |deadline| format!("{} s", deadline.as_secs()),
        );
        vec![
            format!("`{}`", info.name),
            info.request.to_owned(),
            info.response.to_owned(),
            if info.mutating { "yes" } else { "no" }.to_owned(),
            repeat.to_owned(),
            info.capability
                .map_or_else(|| "always".to_owned(), |capability| format!("`{capability}`")),
            format!("`{}`", info.permission),
            deadline,
        ]
    });
    table(&head, rows)
}

fn error_table() -> String {
    let rows = ErrorKind::TABLE.iter().map(|info| {
        vec![
            format!("`{}`", info.code),
            format!("`{}`", info.template),
            if info.retryable {
                "yes, unless permanent"
            } else {
                "no"
            }
            .to_owned(),
            info.group.to_string(),
        ]
    });
    table(&["code", "message form", "retryable", "group"], rows)
}

fn capability_table() -> String {
    let names = Capability::ALL
        .iter()
        .map(|capability| format!("`{capability}`"))
        .collect::<Vec<_>>();
    let operations = |wanted: Capability| {
        let names = Operation::ALL
            .iter()
            .filter(|operation| operation.info().capability == Some(wanted));
        names
            .map(|operation| format!("`{operation}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    table(
        &["capability", "operations that need it"],
        names
            .into_iter()
            .zip(Capability::ALL)
            .map(|(name, capability)| vec![name, operations(*capability)]),
    )
}
