//! The program on the driver `local`: real containers of the image `host`, over several commands, as root.

use std::path::Path;

use driver_types::{ContainerInstance, ContainerStatus, ExitReason};

use crate::support::{Ran, driver, ran};

/// Runs the program on a state directory, with the driver that it takes by itself.
fn local(state: &Path, arguments: &[&str]) -> Ran {
    let mut command = driver();
    command.env("DRIVER_LOCAL_STATE", state);
    ran(command.args(arguments))
}

/// A state directory, or the reason why containers cannot be made here.
fn state() -> Option<tempfile::TempDir> {
    let state = tempfile::tempdir().unwrap();
    let preflight = local(state.path(), &["--format", "json", "preflight"]);
    if preflight.stdout.contains("\"fail\"") {
        eprintln!("skipped: {}", preflight.stdout);
        return None;
    }
    Some(state)
}

#[test]
fn the_first_command_of_the_readme() {
    let Some(state) = state() else { return };
    let ran = local(state.path(), &["run", "host", "--", "sh", "-c", "echo hello"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "hello\n", "")
    );
    assert_eq!(local(state.path(), &["rm", &only(state.path())]).code, 0);
    let script = "echo hello; id -u; exit 3";
    let ran = local(state.path(), &["run", "--rm", "host", "--", "sh", "-c", script]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (3, "hello\n1000\n", "")
    );
    for directory in ["containers", "trash"] {
        let left = std::fs::read_dir(state.path().join(directory)).unwrap().count();
        assert_eq!(left, 0, "in {directory}");
    }
    assert_eq!(
        local(state.path(), &["run", "--rm", "host", "--", "no-such-program"]).code,
        127
    );
}

/// Each command is a process of its own: the container outlives the one that started it.
#[test]
fn a_life_over_several_commands() {
    let Some(state) = state() else { return };
    let state = state.path();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let created = local(
        state,
        &[
            "run", "--detach", "--name", "life", "host", "--", "sh", "-c", script,
        ],
    );
    assert_eq!(created.code, 0, "{created:?}");
    let exec = local(state, &["exec", "life", "sh", "-c", "exit 4"]);
    assert_eq!(exec.code, 4, "{exec:?}");
    let listed: Vec<ContainerInstance> = local(state, &["--format", "json", "ps"]).json();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].status, ContainerStatus::Running);
    let stopped = local(state, &["stop", "life"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let listed: Vec<ContainerInstance> = local(state, &["--format", "json", "ps", "--all"]).json();
    let exit = listed[0].exit.clone().unwrap();
    assert_eq!((exit.exit_code, exit.reason), (Some(7), ExitReason::Stopped));
    assert_eq!(local(state, &["logs", "life"]).stdout, "ready\n");
    assert_eq!(local(state, &["rm", "life"]).code, 0);
    let listed: Vec<ContainerInstance> = local(state, &["--format", "json", "ps", "--all"]).json();
    assert_eq!(listed, Vec::new());
}

/// The id of the one container.
fn only(state: &Path) -> String {
    let listed: Vec<ContainerInstance> = local(state, &["--format", "json", "ps", "--all"]).json();
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed[0].id.clone()
}

/// Nothing can be made in /proc, by whoever it may be.
#[test]
fn where_the_default_driver_cannot_work_the_error_names_the_others() {
    let text = local(Path::new("/proc/state"), &["run", "host", "--", "true"]);
    assert_eq!(text.code, 125, "{text:?}");
    for way_out in ["driver preflight", "--driver docker"] {
        assert!(text.stderr.contains(way_out), "{}", text.stderr);
    }
    let error = local(
        Path::new("/proc/state"),
        &["--format", "json", "run", "host", "--", "true"],
    )
    .error();
    assert!(error.report().contains("--driver docker"), "{error:?}");
    let named = local(Path::new("/proc/state"), &["--driver", "mock-local", "ps"]);
    assert_eq!(named.code, 0, "{named:?}");
}
