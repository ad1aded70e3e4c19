//! `health_check`, `is_container_healthy` and health checks of containers.

use driver_types::{
    Capability, ContainerInstance, DriverStatus, HealthCheckConfig, HealthStatus, StopOptions,
};

use super::inside::idle;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::context::until;
use crate::expect;

const CHECK: &[Capability] = &[Capability::HealthCheck];
/// For cases that change the verdict from inside.
const CHANGED: &[Capability] = &[Capability::HealthCheck, Capability::Exec];
const RULES: &[&str] = &["3.health.container", "1.config.healthcheck"];

pub(super) fn register(group: &mut Group) {
    group
        .case("driver_is_healthy", driver_is_healthy)
        .proves(&["3.health.unreachable"]);
    group
        .case("unreachable_engine_is_unhealthy", unreachable)
        .proves(&["3.health.unreachable"]);
    group
        .case("not_running_is_not_healthy", not_running)
        .proves(&["3.health.container"]);
    group
        .case("running_without_a_check_is_healthy", without_a_check)
        .proves(&["3.health.container"]);
    group
        .case("paused_is_not_healthy", paused)
        .needs(&[Capability::Pause])
        .proves(&["3.health.container"]);
    group
        .case("check_makes_healthy", check_makes_healthy)
        .needs(CHECK)
        .proves(RULES);
    group
        .case("failing_check_makes_unhealthy", check_makes_unhealthy)
        .needs(CHECK)
        .proves(RULES);
    group
        .case("verdict_follows_the_check", verdict_follows)
        .needs(CHANGED)
        .proves(RULES);
    group
        .case("starting_is_not_unhealthy", starting)
        .needs(CHECK)
        .proves(RULES);
    group
        .case("check_that_hangs_is_a_failure", hanging_check)
        .needs(CHECK)
        .proves(RULES);
    group
        .case("check_runs_inside", check_runs_inside)
        .needs(CHECK)
        .proves(RULES);
    group
        .case("none_switches_it_off", none)
        .needs(CHECK)
        .proves(RULES);
}

/// A check that runs the workload program often.
fn check<const N: usize>(cx: &Context, commands: [&str; N]) -> HealthCheckConfig {
    let mut check = HealthCheckConfig::command(cx.argv(commands));
    (check.interval_ms, check.timeout_ms, check.retries) = (250, 5000, 2);
    check
}

/// Waits for a verdict.
async fn verdict(cx: &Context, id: &str, wanted: HealthStatus) -> Result<ContainerInstance, CaseError> {
    until(&format!("health {wanted:?}"), || async {
        let container = cx.get(id).await?;
        let found = container.health.as_ref().map(|health| health.status);
        Ok((found == Some(wanted)).then_some(container))
    })
    .await
}

async fn driver_is_healthy(cx: Context) -> CaseResult {
    let health = cx.driver().health_check().await?;
    expect::equal("status", health.status, DriverStatus::Healthy)?;
    expect::equal("error", health.error, None)?;
    expect::that(
        "a time in milliseconds",
        health.checked_at > 1_577_836_800_000,
        health.checked_at,
    )
}

async fn unreachable(cx: Context) -> CaseResult {
    let Some(driver) = cx.factory().open_unreachable().await else {
        return expect::skip("the factory cannot open a driver whose engine is unreachable");
    };
    let health = driver.health_check().await?;
    expect::equal("status", health.status, DriverStatus::Unhealthy)?;
    expect::that(
        "an error text",
        health.error.as_ref().is_some_and(|error| !error.is_empty()),
        &health,
    )?;
    expect::code(driver.list_containers(&Default::default()).await, "NETWORK_ERROR")?;
    Ok(())
}

async fn not_running(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(["forever"])).await?.id;
    expect::equal(
        "healthy while created",
        cx.driver().is_container_healthy(&id).await?,
        false,
    )?;
    cx.driver().start_container(&id).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    expect::equal(
        "healthy while stopped",
        cx.driver().is_container_healthy(&id).await?,
        false,
    )
}

async fn without_a_check(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    expect::equal("health", cx.get(&id).await?.health, None)?;
    expect::equal("healthy", cx.driver().is_container_healthy(&id).await?, true)
}

/// `running` in the rule is the status: a paused container is not.
async fn paused(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.driver().pause_container(&id).await?;
    expect::equal(
        "healthy while paused",
        cx.driver().is_container_healthy(&id).await?,
        false,
    )?;
    cx.driver().resume_container(&id).await?;
    expect::equal(
        "healthy while running",
        cx.driver().is_container_healthy(&id).await?,
        true,
    )
}

async fn check_makes_healthy(cx: Context) -> CaseResult {
    let id = cx
        .run(&cx.config(["forever"]).healthcheck(check(&cx, ["exit", "0"])))
        .await?
        .id;
    let health = expect::some("health", verdict(&cx, &id, HealthStatus::Healthy).await?.health)?;
    expect::equal("failures in a row", health.failing_streak, 0)?;
    expect::equal("healthy", cx.driver().is_container_healthy(&id).await?, true)
}

async fn check_makes_unhealthy(cx: Context) -> CaseResult {
    let id = cx
        .run(
            &cx.config(["forever"])
                .healthcheck(check(&cx, ["out", "not well", ",", "exit", "1"])),
        )
        .await?
        .id;
    let health = expect::some("health", verdict(&cx, &id, HealthStatus::Unhealthy).await?.health)?;
    expect::that("2 failures in a row or more", health.failing_streak >= 2, &health)?;
    let last = expect::some("the last check", health.checks.last())?;
    expect::equal("exit code of the check", last.exit_code, 1)?;
    expect::contains("output of the check", &last.output, "not well")?;
    expect::equal("healthy", cx.driver().is_container_healthy(&id).await?, false)
}

async fn verdict_follows(cx: Context) -> CaseResult {
    let config = cx
        .config(["write", "/tmp/well", "1"])
        .healthcheck(check(&cx, ["exists", "/tmp/well"]));
    let id = cx.ready_with(config).await?.id;
    verdict(&cx, &id, HealthStatus::Healthy).await?;
    cx.exec_lines(&id, ["rm", "/tmp/well"]).await?;
    verdict(&cx, &id, HealthStatus::Unhealthy).await?;
    expect::equal("healthy", cx.driver().is_container_healthy(&id).await?, false)?;
    cx.exec_lines(&id, ["write", "/tmp/well", "1"]).await?;
    verdict(&cx, &id, HealthStatus::Healthy).await?;
    expect::equal("healthy", cx.driver().is_container_healthy(&id).await?, true)
}

async fn starting(cx: Context) -> CaseResult {
    let mut check = check(&cx, ["exit", "1"]);
    (check.interval_ms, check.start_period_ms) = (600_000, 600_000);
    let id = cx.run(&cx.config(["forever"]).healthcheck(check)).await?.id;
    let health = expect::some("health", cx.get(&id).await?.health)?;
    expect::equal("verdict", health.status, HealthStatus::Starting)?;
    expect::equal("healthy", cx.driver().is_container_healthy(&id).await?, true)
}

async fn hanging_check(cx: Context) -> CaseResult {
    let mut check = check(&cx, ["forever"]);
    (check.timeout_ms, check.retries) = (500, 1);
    let id = cx.run(&cx.config(["forever"]).healthcheck(check)).await?.id;
    let health = expect::some("health", verdict(&cx, &id, HealthStatus::Unhealthy).await?.health)?;
    let last = expect::some("the last check", health.checks.last())?;
    expect::equal("exit code of a check that timed out", last.exit_code, -1)
}

async fn check_runs_inside(cx: Context) -> CaseResult {
    let check = check(&cx, ["read", "/etc/image-marker", ",", "uid", ",", "exit", "0"]);
    let id = cx.run(&cx.config(["forever"]).healthcheck(check)).await?.id;
    let health = expect::some("health", verdict(&cx, &id, HealthStatus::Healthy).await?.health)?;
    let last = expect::some("the last check", health.checks.last())?;
    expect::contains("output of the check", &last.output, "read=inside\\n\nuid=1000")
}

async fn none(cx: Context) -> CaseResult {
    let mut check = check(&cx, []);
    check.test = vec!["NONE".to_owned()];
    let id = cx.run(&cx.config(["forever"]).healthcheck(check)).await?.id;
    expect::equal("health", cx.get(&id).await?.health, None)?;
    expect::equal("healthy", cx.driver().is_container_healthy(&id).await?, true)
}
