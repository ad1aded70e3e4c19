//! The verdict on a container from the runs of its health check.

use driver_state::HealthTracker;
use driver_types::{HealthCheckConfig, HealthCheckRun, HealthStatus};
use rstest::rstest;

/// A check that began `at` milliseconds after the start of the container.
fn check(at: u64, exit_code: i32) -> HealthCheckRun {
    HealthCheckRun {
        started_at: 1000 + at,
        finished_at: 1001 + at,
        exit_code,
        output: format!("check at {at}"),
    }
}

fn tracker(retries: u32, start_period_ms: u64) -> HealthTracker {
    let config = HealthCheckConfig {
        retries,
        start_period_ms,
        ..HealthCheckConfig::command(["true"])
    };
    HealthTracker::new(&config, 1000)
}

/// Checks as `time:exit code`; statuses by their first letter; streak at the end.
#[rstest]
#[case::never_checked(2, 0, "", "", 0)]
#[case::healthy_at_once(2, 0, "0:0", "h", 0)]
#[case::unhealthy_after_retries(2, 0, "0:1 1:1", "su", 2)]
#[case::one_try(1, 0, "0:1", "u", 1)]
#[case::no_tries_mean_one(0, 0, "0:1", "u", 1)]
#[case::a_success_ends_the_streak(2, 0, "0:1 1:0 2:1 3:0", "shhh", 0)]
#[case::a_healthy_one_survives_some_failures(3, 0, "0:0 1:1 2:1", "hhh", 2)]
#[case::it_recovers(1, 0, "0:1 1:0", "uh", 0)]
#[case::the_streak_goes_on(1, 0, "0:1 1:1 2:137", "uuu", 3)]
#[case::failures_in_the_start_period_do_not_count(1, 10, "0:1 5:1 9:1", "sss", 0)]
#[case::the_first_after_the_period_counts(1, 10, "9:1 10:1", "su", 1)]
#[case::a_success_ends_the_period(1, 10, "1:0 2:1", "hu", 1)]
#[case::a_timeout_is_a_failure(1, 0, "0:-1", "u", 1)]
fn the_verdict_follows_the_checks(
    #[case] retries: u32,
    #[case] start_period_ms: u64,
    #[case] checks: &str,
    #[case] verdicts: &str,
    #[case] streak: u32,
) {
    let mut tracker = tracker(retries, start_period_ms);
    let mut found = String::new();
    for run in checks.split_whitespace() {
        let (at, exit_code) = run.split_once(':').expect("time:code");
        let before = tracker.status();
        let changed = tracker.record(check(
            at.parse().expect("a time"),
            exit_code.parse().expect("a code"),
        ));
        let now = tracker.status();
        assert_eq!(changed, (now != before).then_some(now), "a change is told once");
        found.push(match now {
            HealthStatus::Starting => 's',
            HealthStatus::Healthy => 'h',
            HealthStatus::Unhealthy => 'u',
        });
    }
    assert_eq!(
        (found.as_str(), tracker.health().failing_streak),
        (verdicts, streak)
    );
}

#[test]
fn the_last_checks_are_kept_and_their_output_is_cut() {
    let mut tracker = tracker(100, 0);
    for at in 0..20 {
        let mut run = check(at, 1);
        // Three bytes each: the cut falls within a character.
        run.output = "€".repeat(5000);
        tracker.record(run);
    }
    let health = tracker.health();
    let times: Vec<u64> = health.checks.iter().map(|check| check.started_at).collect();
    assert_eq!(times, [1015, 1016, 1017, 1018, 1019]);
    assert_eq!(health.checks[0].output.len(), HealthTracker::MAX_OUTPUT / 3 * 3);
    assert_eq!(health.failing_streak, 20);
}
