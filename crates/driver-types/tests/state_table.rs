//! The state table is the one of contract section 2.

#![allow(clippy::unwrap_used)]

use driver_types::{Action, ContainerState, ContainerStatus, DriverError, ErrorKind, Transition};
use rstest::rstest;

/// Contract section 2, word for word.
const CONTRACT: &str = "\
| from | start | stop | pause | resume | remove | remove force | process ends |
|---|---|---|---|---|---|---|---|
| created | running | no-op | error | error | gone | gone | - |
| running | no-op | stopped | paused | no-op | ContainerRemove error | gone | exited |
| paused | error | stopped | no-op | running | ContainerRemove error | gone | exited |
| stopped, exited | running (a new run: startedAt new, exit cleared, restarts + 1) | no-op | error | error | gone | gone | - |
| dead | error | no-op | error | error | gone | gone | - |
";

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

fn expected(cell: &str) -> Transition {
    // What stands in brackets explains the cell.
    let cell = cell.split(" (").next().unwrap();
    match cell {
        "no-op" => Transition::NoOp,
        "error" => Transition::InvalidState,
        "ContainerRemove error" => Transition::RemoveRefused,
        "gone" => Transition::Gone,
        "-" => Transition::Impossible,
        status => Transition::To(
            ContainerStatus::ALL
                .into_iter()
                .find(|known| known.name() == status)
                .unwrap(),
        ),
    }
}

#[test]
fn every_cell_is_the_contracts() {
    let mut rows = CONTRACT.lines();
    let headings = cells(rows.next().unwrap());
    assert_eq!(headings[1..], Action::ALL.map(Action::name));
    let mut seen = Vec::new();
    for row in rows.skip(1) {
        let cells = cells(row);
        for status in cells[0].split(", ") {
            let status = ContainerStatus::ALL
                .into_iter()
                .find(|known| known.name() == status)
                .unwrap();
            seen.push(status);
            for (action, cell) in Action::ALL.into_iter().zip(&cells[1..]) {
                assert_eq!(
                    status.transition(action),
                    expected(cell),
                    "{} {status}",
                    action.name()
                );
            }
        }
    }
    // The contract has no row for `removing`: nobody but the driver itself may touch such a container.
    assert_eq!(seen.len() + 1, ContainerStatus::ALL.len());
}

/// The whole table, so that a change of it is seen.
#[test]
fn the_table() {
    let mut table = format!("{:9}", "");
    for action in Action::ALL {
        table += &format!("{:14}", action.name());
    }
    for status in ContainerStatus::ALL {
        table += &format!("\n{status:9}");
        for action in Action::ALL {
            let cell = match status.transition(action) {
                Transition::To(status) => status.name(),
                Transition::NoOp => "no-op",
                Transition::Gone => "gone",
                Transition::InvalidState => "INVALID_STATE",
                Transition::RemoveRefused => "REMOVE_FAILED",
                Transition::Impossible => "-",
            };
            table += &format!("{cell:14}");
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[rstest]
fn a_refusal_names_the_statuses_in_which_the_action_succeeds(
    #[values(
        Action::Start,
        Action::Stop,
        Action::Pause,
        Action::Resume,
        Action::Remove,
        Action::RemoveForce,
        Action::ProcessEnds
    )]
    action: Action,
) {
    for status in ContainerStatus::ALL {
        let transition = status.transition(action);
        let checked = status.check("id", action);
        if transition.is_success() {
            assert_eq!(checked, Ok(transition));
            continue;
        }
        let error = checked.unwrap_err();
        assert!(!error.is_retryable());
        match error.kind() {
            ErrorKind::InvalidState {
                id,
                status: named,
                allowed,
            } => {
                assert_eq!((id.as_str(), named.as_str()), ("id", status.name()));
                let legal: Vec<String> = action.allowed().map(|status| status.to_string()).collect();
                assert_eq!(allowed.0, legal);
            }
            ErrorKind::ContainerRemove { id, message } => {
                assert_eq!(transition, Transition::RemoveRefused);
                assert!(
                    id == "id" && message.contains(status.name()) && message.contains("force"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn messages_of_refusals() {
    let refuse = |status: ContainerStatus, action| -> DriverError { status.check("c1", action).unwrap_err() };
    let paused = refuse(ContainerStatus::Paused, Action::Start);
    assert_eq!(
        paused.to_string(),
        "Container c1 is paused; expected created or running or stopped or exited"
    );
    let running = refuse(ContainerStatus::Running, Action::Remove);
    assert_eq!(
        running.to_string(),
        "Failed to remove container c1: it is running; stop it first, or remove it with force"
    );
}

#[rstest]
#[case("created", ContainerState::Terminated, false, false)]
#[case("running", ContainerState::Running, true, false)]
#[case("paused", ContainerState::Running, true, false)]
#[case("stopped", ContainerState::Terminated, false, true)]
#[case("exited", ContainerState::Terminated, false, true)]
#[case("removing", ContainerState::Terminated, false, false)]
#[case("dead", ContainerState::Error, false, false)]
fn the_state_follows_from_the_status(
    #[case] name: &str,
    #[case] state: ContainerState,
    #[case] alive: bool,
    #[case] ended: bool,
) {
    let status: ContainerStatus = serde_json::from_value(name.into()).unwrap();
    assert_eq!((status.name(), status.to_string().as_str()), (name, name));
    assert_eq!(
        (status.state(), status.is_alive(), status.has_ended()),
        (state, alive, ended)
    );
}
