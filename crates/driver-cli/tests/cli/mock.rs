//! The program on the mock drivers: exit codes, the wire form of every answer, and errors in the words of the
//! command line. No engine is needed.

use driver_types::{
    Capabilities, Capability, ContainerInstance, ContainerStatus, DriverError, DriverHealth, Image, Network,
    Plan, Preflight, PullProgress, ReapReport, RecoveryReport, Volume,
};
use rstest::rstest;
use serde_json::json;

use crate::support::{Ran, driver, ran, run};

fn mock(arguments: &[&str]) -> Ran {
    run(&[&["--driver", "mock-docker"], arguments].concat())
}

fn mock_json(arguments: &[&str]) -> Ran {
    mock(&[&["--format", "json"], arguments].concat())
}

/// Runs on a world of this script.
fn scripted(script: &serde_json::Value, arguments: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script.json");
    std::fs::write(&path, script.to_string()).unwrap();
    mock(&[&["--mock-script", path.to_str().unwrap()], arguments].concat())
}

#[rstest]
#[case("mock-docker")]
#[case("mock-local")]
fn the_example_of_the_readme(#[case] name: &str) {
    let ran = run(&["--driver", name, "run", "--rm", "busybox", "echo", "hello"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "hello\n", "")
    );
}

#[test]
fn stdin_goes_through() {
    let mut command = driver();
    command.args(["--driver", "mock-docker", "run", "--rm", "-i", "alpine", "cat"]);
    let ran = ran(command.write_stdin("a\nb"));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "a\nb"));
}

#[rstest]
#[case::exit_code(json!({"exitCode": 7}), 7)]
#[case::signal(json!({"signal": "SIGKILL"}), 137)]
#[case::out_of_memory(json!("oom"), 137)]
fn run_returns_the_exit_code_of_the_process(#[case] end: serde_json::Value, #[case] code: i32) {
    let output = json!([{"text": "out"}, {"text": "err", "stream": "stderr"}]);
    let script = json!({"processes": [{"command": ["job"], "behavior": {"output": output, "end": end}}]});
    let ran = scripted(&script, &["run", "--rm", "alpine", "job"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (code, "out\n", "err\n")
    );
}

#[test]
fn a_time_limit_is_exit_code_124() {
    let ran = mock(&["run", "--rm", "--timeout", "50ms", "alpine", "sleep", "1000"]);
    assert_eq!(ran.code, 124, "{ran:?}");
}

#[rstest]
#[case::missing_program(&["run", "alpine", "no-such-program"], 127, "CONTAINER_START_FAILED")]
#[case::unknown_image(&["run", "no-such-image"], 125, "IMAGE_NOT_FOUND")]
#[case::bad_config(&["run", "-m", "3m", "alpine"], 125, "CONFIGURATION_ERROR")]
#[case::too_much(&["run", "--cpus", "999", "alpine"], 125, "RESOURCE_LIMIT_EXCEEDED")]
#[case::exec_without_container(&["exec", "c", "ls"], 125, "CONTAINER_NOT_FOUND")]
#[case::unknown_container(&["start", "c"], 1, "CONTAINER_NOT_FOUND")]
#[case::unknown_volume(&["volume", "rm", "vol"], 1, "VOLUME_NOT_FOUND")]
#[case::unknown_network(&["network", "rm", "net"], 1, "NETWORK_NOT_FOUND")]
#[case::unknown_image_to_remove(&["image", "rm", "img"], 1, "IMAGE_NOT_FOUND")]
#[case::unknown_image_to_pull(&["image", "pull", "img"], 1, "IMAGE_NOT_FOUND")]
#[case::reserved_name(&["network", "create", "host"], 1, "CONFIGURATION_ERROR")]
#[case::missing_source(&["logs", "c"], 1, "CONTAINER_NOT_FOUND")]
fn driver_errors_are_one_json_object_on_stderr(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] error: &str,
) {
    let ran = mock_json(arguments);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.error().code()),
        (code, "", error),
        "{ran:?}"
    );
}

#[test]
fn an_error_of_the_engine_reaches_the_caller_whole() {
    let error = DriverError::container_creation("the engine is full").with_context("engine", "mock");
    let fault = json!({"kind": "error", "operation": "createContainer", "error": error});
    let ran = scripted(
        &json!({"faults": [fault]}),
        &["--format", "json", "run", "--rm", "alpine", "true"],
    );
    assert_eq!(
        (ran.code, ran.error().code(), ran.error().to_string().as_str()),
        (125, "CONTAINER_CREATION_FAILED", "the engine is full")
    );
    assert!(ran.error().is_retryable());
}

#[rstest]
#[case("memory", &["create", "-m", "3m", "-v", "data:/proc", "alpine"])]
#[case("image", &["run", "no-such-image"])]
#[case("container", &["stop", "web"])]
#[case("too_much", &["create", "--cpus", "999", "alpine"])]
#[case("subnet", &["network", "create", "net", "--subnet", "10.0.0.1/24"])]
fn errors_name_the_flag_and_the_way_out(#[case] name: &str, #[case] arguments: &[&str]) {
    let ran = mock(arguments);
    insta::assert_snapshot!(name, ran.stderr);
}

#[test]
fn a_value_of_the_environment_is_in_no_error() {
    let ran = mock(&["run", "-e", "1A=hunter2", "-m", "3m", "alpine"]);
    assert_eq!(ran.code, 125);
    assert!(
        ran.stderr.contains("--env") && !ran.stderr.contains("hunter2"),
        "{}",
        ran.stderr
    );
}

#[test]
fn json_is_the_wire_type() {
    let created: ContainerInstance =
        mock_json(&["create", "--name", "web", "-l", "a=b", "alpine", "true"]).json();
    assert_eq!(
        (created.name.as_str(), created.status),
        ("web", ContainerStatus::Created)
    );
    assert_eq!(created.labels.get("a").map(String::as_str), Some("b"));
    let detached: ContainerInstance = mock_json(&["run", "-d", "alpine", "sleep", "1000"]).json();
    assert_eq!(detached.status, ContainerStatus::Running);

    assert_eq!(mock_json(&["ps", "-a"]).json::<Vec<ContainerInstance>>(), []);
    assert_eq!(mock_json(&["images"]).json::<Vec<Image>>(), []);
    assert_eq!(mock_json(&["volume", "ls"]).json::<Vec<Volume>>(), []);
    assert_eq!(mock_json(&["network", "ls"]).json::<Vec<Network>>(), []);
    assert_eq!(
        mock_json(&["volume", "create", "vol"]).json::<Volume>().name,
        "vol"
    );
    assert_eq!(
        mock_json(&["network", "create", "net"]).json::<Network>().name,
        "net"
    );
    assert!(
        mock_json(&["capabilities"])
            .json::<Capabilities>()
            .supports(Capability::Exec)
    );
    assert!(mock_json(&["health"]).json::<DriverHealth>().is_healthy());
    assert!(mock_json(&["preflight"]).json::<Preflight>().is_ok());
    assert!(mock_json(&["plan", "alpine"]).json::<Plan>().feasible);
    assert_eq!(
        mock_json(&["recover"]).json::<RecoveryReport>(),
        RecoveryReport::default()
    );
    let reaped: ReapReport = mock_json(&["reap", "--max-age", "1h", "--dry-run"]).json();
    assert!(reaped.dry_run && reaped.removed.is_empty());
}

#[test]
fn a_stream_is_one_document_a_line() {
    let ran = mock_json(&["image", "pull", "alpine"]);
    let items: Vec<PullProgress> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = items.last().unwrap();
    assert_eq!((ran.code, last.status.as_str()), (0, PullProgress::COMPLETE));
    assert!(last.image.is_some());
}

#[test]
fn a_plan_that_is_refused_is_exit_code_1() {
    let ran = mock(&["plan", "--read-only=false", "--disk", "2g", "alpine"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let disk = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("/resources/disk"))
        .unwrap();
    assert!(disk.contains("--disk") && disk.contains("none"), "{}", ran.stdout);
}

#[test]
fn an_engine_that_is_down_is_unhealthy_and_exit_code_1() {
    let fault = json!({"kind": "error", "operation": "healthCheck", "error": DriverError::driver_health("a broken reply")});
    let ran = scripted(&json!({"faults": [fault]}), &["health"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("a broken reply"), "{}", ran.stderr);
}

#[test]
fn a_script_that_cannot_be_read_is_told() {
    let ran = scripted(&json!({"delay": 5}), &["ps"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("delay"), "{}", ran.stderr);
    let ran = run(&["--driver", "docker", "--mock-script", "x.json", "ps"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("mock-docker"), "{}", ran.stderr);
}
