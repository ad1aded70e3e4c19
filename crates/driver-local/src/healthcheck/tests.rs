//! Checks of containers whose processes the test plays, in virtual time.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use driver_local_shim::record;
use driver_types::{ContainerConfig, DriverError, ExitReason};
use rstest::rstest;
use tokio::sync::{Semaphore, mpsc, watch};

use super::*;
use crate::journal::{self, Story};
use crate::layout::Layout;
use crate::spec::ImageSpec;

const ID: &str = "0123456789012345678901234567890123456789012345678901234567890123";

/// A container in its run of this number, or before its first.
fn container(config: ContainerConfig, run: Option<u32>) -> Container {
    let mut story = Story::default();
    if let Some(run) = run {
        let (records, _) = journal::parse(record::started(run, 77, 1234, "boot", 0).as_bytes());
        records.iter().for_each(|record| story.add(record));
    }
    Container {
        spec: Arc::new(Spec {
            id: ID.into(),
            name: "box".into(),
            owner: "default".into(),
            config,
            image: ImageSpec::default(),
            created_at: 0,
            created_nanos: 0,
            enforcement: Default::default(),
        }),
        dir: Layout::new("/nowhere").container(ID),
        story,
    }
}

fn config(test: &[&str]) -> ContainerConfig {
    let mut check = HealthCheckConfig::command(["unused"]);
    check.test = test.iter().map(|part| (*part).to_owned()).collect();
    (check.interval_ms, check.timeout_ms, check.retries) = (1000, 500, 2);
    ContainerConfig::new("session", "image").healthcheck(check)
}

fn exited(exit_code: i32) -> Result<ExecResult> {
    Ok(ExecResult {
        exit_code,
        signal: Signal::from_exit_code(exit_code),
        timed_out: false,
        stdout: bytes::Bytes::from("out ").into(),
        stderr: bytes::Bytes::from("err").into(),
        stdout_truncated: false,
        stderr_truncated: false,
        duration_ms: 1,
    })
}

/// A run whose checks end like this, one after the other; after the last one nothing is checked any more.
struct Played {
    results: Mutex<VecDeque<Result<ExecResult>>>,
    specs: mpsc::UnboundedSender<ExecSpec>,
    verdicts: mpsc::UnboundedSender<HealthStatus>,
    ended: Arc<Semaphore>,
    /// Dropped with the task.
    _gone: watch::Sender<()>,
}

/// What a test sees of a played run.
struct Seen {
    specs: mpsc::UnboundedReceiver<ExecSpec>,
    verdicts: mpsc::UnboundedReceiver<HealthStatus>,
    ended: Arc<Semaphore>,
    gone: watch::Receiver<()>,
}

fn play(results: impl IntoIterator<Item = Result<ExecResult>>) -> (Played, Seen) {
    let (specs, seen_specs) = mpsc::unbounded_channel();
    let (verdicts, seen_verdicts) = mpsc::unbounded_channel();
    let (gone, seen_gone) = watch::channel(());
    let ended = Arc::new(Semaphore::new(0));
    let played = Played {
        results: Mutex::new(results.into_iter().collect()),
        specs,
        verdicts,
        ended: Arc::clone(&ended),
        _gone: gone,
    };
    let seen = Seen {
        specs: seen_specs,
        verdicts: seen_verdicts,
        ended,
        gone: seen_gone,
    };
    (played, seen)
}

impl Seen {
    /// Waits until the task of the checks is gone.
    async fn gone(&mut self) {
        while self.gone.changed().await.is_ok() {}
    }
}

#[async_trait]
impl CheckedRun for Played {
    async fn exec(&self, spec: &ExecSpec) -> Result<ExecResult> {
        self.specs.send(spec.clone()).unwrap();
        let result = self.results.lock().unwrap().pop_front();
        match result {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    async fn ended(&self) {
        self.ended.acquire().await.unwrap().forget();
    }

    fn changed(&self, status: HealthStatus) {
        self.verdicts.send(status).unwrap();
    }

    fn now_ms(&self) -> u64 {
        5000
    }
}

#[rstest]
#[case(&["CMD", "probe", "-x"], &["probe", "-x"])]
#[case(&["CMD-SHELL", "probe || exit 1"], &["/bin/sh", "-c", "probe || exit 1"])]
#[case(&["NONE"], &[])]
#[case(&["CMD"], &[])]
fn what_is_run(#[case] test: &[&str], #[case] argv: &[&str]) {
    let container = container(config(test), None);
    let found = wanted(&container.spec).map(|(_, argv)| argv);
    assert_eq!(found.unwrap_or_default(), argv);
}

#[test]
fn the_image_decides_where_the_config_says_nothing() {
    let of_image = HealthCheckConfig::command(["of-image"]);
    let mut spec = Spec::clone(&container(ContainerConfig::new("session", "image"), None).spec);
    spec.image.healthcheck = Some(of_image);
    assert_eq!(
        wanted(&spec).map(|(_, argv)| argv),
        Some(vec!["of-image".to_owned()])
    );
    spec.config = config(&["NONE"]);
    assert_eq!(wanted(&spec), None);
}

#[tokio::test(start_paused = true)]
async fn verdicts_are_told_and_kept() {
    let container = container(config(&["CMD", "probe"]), Some(0));
    let checks = HealthChecks::default();
    let (played, mut seen) = play([exited(1), exited(0), exited(1), exited(1)]);
    checks.begin(&container, played);
    assert_eq!(checks.of(&container).unwrap().status, HealthStatus::Starting);
    assert_eq!(seen.verdicts.recv().await, Some(HealthStatus::Healthy));
    let spec = seen.specs.recv().await.unwrap();
    assert_eq!(
        (spec.command, spec.timeout_ms),
        (vec!["probe".to_owned()], Some(500))
    );
    assert_eq!(seen.verdicts.recv().await, Some(HealthStatus::Unhealthy));
    let health = checks.of(&container).unwrap();
    assert_eq!(
        (health.status, health.failing_streak),
        (HealthStatus::Unhealthy, 2)
    );
    let codes: Vec<i32> = health.checks.iter().map(|check| check.exit_code).collect();
    assert_eq!(codes, [1, 0, 1, 1]);
    assert_eq!(health.checks[0].output, "out err");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_fails_and_what_is_frozen_does_not() {
    let container = container(config(&["CMD", "probe"]), Some(0));
    let checks = HealthChecks::default();
    let frozen = Err(DriverError::invalid_state("box", "paused", ["running"]));
    let late = exited(143).map(|result| ExecResult {
        timed_out: true,
        ..result
    });
    let (played, mut seen) = play([frozen, Err(DriverError::exec_start("box", "no program")), late]);
    checks.begin(&container, played);
    assert_eq!(seen.verdicts.recv().await, Some(HealthStatus::Unhealthy));
    let health = checks.of(&container).unwrap();
    let outputs: Vec<(i32, &str)> = health
        .checks
        .iter()
        .map(|check| (check.exit_code, check.output.as_str()))
        .collect();
    assert!(matches!(
        outputs[..],
        [(-1, no_program), (-1, "the check took longer than 500 ms\nout err")] if no_program.contains("no program")
    ));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_dies_with_its_container_is_no_verdict() {
    let container = container(config(&["CMD", "probe"]), Some(0));
    let checks = HealthChecks::default();
    let (played, mut seen) = play([exited(137), exited(137), exited(137)]);
    checks.begin(&container, played);
    seen.specs.recv().await.unwrap();
    seen.ended.add_permits(1);
    seen.gone().await;
    assert_eq!(checks.of(&container).unwrap().checks, []);
    // One that is killed alone is a failure.
    let next = super::tests::container(config(&["CMD", "probe"]), Some(1));
    let (played, mut seen) = play([exited(137), exited(137)]);
    checks.begin(&next, played);
    assert_eq!(seen.verdicts.recv().await, Some(HealthStatus::Unhealthy));
}

#[tokio::test(start_paused = true)]
async fn a_run_has_one_check_and_the_next_run_its_own() {
    let first = container(config(&["CMD", "probe"]), Some(0));
    let checks = HealthChecks::default();
    let (played, mut seen) = play([exited(0)]);
    checks.begin(&first, played);
    let (again, mut refused) = play([]);
    checks.begin(&first, again);
    refused.gone().await;
    assert_eq!(seen.verdicts.recv().await, Some(HealthStatus::Healthy));
    let second = container(config(&["CMD", "probe"]), Some(1));
    let (played, mut second_seen) = play([]);
    checks.begin(&second, played);
    seen.gone().await;
    assert_eq!(checks.of(&second).unwrap().status, HealthStatus::Starting);
    checks.forget(ID);
    second_seen.gone().await;
}

#[tokio::test(start_paused = true)]
async fn the_driver_takes_its_checks_along() {
    let container = container(config(&["CMD", "probe"]), Some(0));
    let checks = HealthChecks::default();
    let (played, mut seen) = play([]);
    checks.begin(&container, played);
    drop(checks);
    seen.gone().await;
}

#[test]
fn without_a_check_or_a_run_there_is_no_health() {
    let checks = HealthChecks::default();
    let none = ContainerConfig::new("session", "image");
    assert_eq!(checks.of(&container(none, Some(0))), None);
    assert_eq!(checks.of(&container(config(&["CMD", "probe"]), None)), None);
    let elsewhere = checks.of(&container(config(&["CMD", "probe"]), Some(0))).unwrap();
    assert_eq!(elsewhere.status, HealthStatus::Starting);
    let mut ended = container(config(&["CMD", "probe"]), Some(0));
    let (records, _) = journal::parse(record::exited(0, 0, None, false, true, 1).as_bytes());
    records.iter().for_each(|record| ended.story.add(record));
    assert_eq!(
        ended.story.run.as_ref().unwrap().exit.as_ref().unwrap().reason,
        ExitReason::Exited
    );
    assert_eq!(checks.of(&ended), None);
}
