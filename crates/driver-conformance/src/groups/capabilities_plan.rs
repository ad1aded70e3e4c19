//! `plan` and `preflight`.

use driver_types::{
    Capability, CheckStatus, ContainerFilter, PlanItem, PreflightCheck, ResourceLimits, SupportLevel,
};

use super::capabilities::missing;
use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("plan_of_what_works", plan_of_what_works)
        .needs(PLAN)
        .proves(&["3.plan"]);
    group
        .case("plan_tells_refusals", plan_tells_refusals)
        .needs(PLAN)
        .proves(&["3.plan"]);
    group
        .case("plan_has_no_side_effect", plan_has_no_side_effect)
        .needs(PLAN)
        .proves(&["3.plan"]);
    group
        .case("plan_of_an_invalid_config", plan_of_an_invalid_config)
        .needs(PLAN)
        .proves(&["3.plan"]);
    group
        .case("preflight_tells_remedies", preflight)
        .needs(&[Capability::Preflight])
        .proves(&["3.preflight"]);
}

const PLAN: &[Capability] = &[Capability::Plan];

async fn plan_of_what_works(cx: Context) -> CaseResult {
    let config = cx.config(NOTHING);
    let plan = cx.driver().plan(&config).await?;
    expect::that("a feasible plan", plan.feasible, &plan)?;
    expect::equal(
        "driver and image",
        (plan.driver.as_str(), &plan.image),
        (cx.driver().name(), &config.image),
    )?;
    expect::equal("pull of an image that is here", plan.pull, false)?;
    expect::that(
        "no item refused",
        plan.items.iter().all(|item| item.support != SupportLevel::None),
        &plan,
    )?;
    let reasoned = plan
        .items
        .iter()
        .all(|item| item.support == SupportLevel::Native || item.reason.is_some());
    expect::that("a reason for each item that is not native", reasoned, &plan)?;
    cx.create(&config).await.map(drop)
}

async fn plan_tells_refusals(cx: Context) -> CaseResult {
    let missing = missing(&cx);
    if missing.is_empty() {
        return expect::skip("every capability that a field of a config needs is declared");
    }
    for field in missing {
        let plan = cx.driver().plan(&(field.wish)(&cx, cx.config(NOTHING))).await?;
        expect::that(
            format!("a plan that is not feasible for {}", field.pointer),
            !plan.feasible,
            &plan,
        )?;
        let refused = |item: &PlanItem| {
            item.pointer.starts_with(field.pointer)
                && item.support == SupportLevel::None
                && item.reason.is_some()
        };
        expect::that(
            format!("a reasoned refusal at {}", field.pointer),
            plan.items.iter().any(refused),
            &plan,
        )?;
    }
    Ok(())
}

async fn plan_has_no_side_effect(cx: Context) -> CaseResult {
    let name = cx.name("planned");
    let config = cx.config(NOTHING).name(&name).request_id(&name);
    let first = cx.driver().plan(&config).await?;
    let left = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::that("no container", left.is_empty(), left)?;
    expect::equal("the second plan", cx.driver().plan(&config).await?, first)?;
    expect::equal("name that is still free", cx.create(&config).await?.name, name)
}

async fn plan_of_an_invalid_config(cx: Context) -> CaseResult {
    let config = cx
        .config(NOTHING)
        .resources(ResourceLimits::default().pids(0))
        .working_dir("relative");
    let planned = expect::permanent(cx.driver().plan(&config).await, "CONFIGURATION_ERROR")?;
    let created = expect::permanent(cx.driver().create_container(&config).await, "CONFIGURATION_ERROR")?;
    expect::equal("violations", planned.violation_list(), created.violation_list())
}

async fn preflight(cx: Context) -> CaseResult {
    let preflight = cx.driver().preflight().await?;
    expect::that("a check", !preflight.checks.is_empty(), &preflight)?;
    expect::that(
        "no failure on a machine that runs this",
        preflight.is_ok(),
        &preflight,
    )?;
    let remedied = |check: &PreflightCheck| check.status == CheckStatus::Ok || check.remedy.is_some();
    expect::that(
        "a remedy for what is not ok",
        preflight.checks.iter().all(remedied),
        &preflight,
    )
}
