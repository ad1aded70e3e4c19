//! `update_resources`.

use driver_types::{Capability, ContainerStatus, ResourceLimits};

use super::inside::idle;
use super::limits::{names_the_resource, too_much};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("update_is_live", update_is_live)
        .needs(&[
            Capability::UpdateResources,
            Capability::PidsLimit,
            Capability::Exec,
        ])
        .proves(&["3.update"]);
    group
        .case("update_of_every_limit_is_read_back", update_read_back)
        .needs(UPDATE)
        .proves(&["3.update"]);
    group
        .case("update_is_all_or_nothing", update_all_or_nothing)
        .needs(UPDATE)
        .proves(&["3.update"]);
    group
        .case("update_over_capacity", update_over_capacity)
        .needs(UPDATE)
        .proves(&["3.update", "1.resources.capacity"]);
}

const UPDATE: &[Capability] = &[Capability::UpdateResources];

async fn update_is_live(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.driver()
        .update_resources(&id, &ResourceLimits::default().pids(10))
        .await?;
    let output = cx.exec_lines(&id, ["fork", "40", "M", ",", "reap"]).await?;
    output.expect_errno("fork", "EAGAIN")?;
    cx.driver()
        .update_resources(&id, &ResourceLimits::default().pids(60))
        .await?;
    cx.exec_lines(&id, ["fork", "40", "M", ",", "reap"])
        .await?
        .expect("fork", "40")
}

async fn update_read_back(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let limits = ResourceLimits {
        cpu: 0.75,
        memory: 600,
        pids: 55,
        ..ResourceLimits::default()
    };
    cx.driver().update_resources(&id, &limits).await?;
    expect::equal("limits while it runs", cx.get(&id).await?.resources, limits)?;
    expect::equal("status", cx.get(&id).await?.status, ContainerStatus::Running)
}

/// What is refused, for whichever of its parts, has changed nothing.
async fn update_all_or_nothing(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let before = cx.get(&id).await?.resources;
    let none = ResourceLimits {
        memory: 600,
        pids: 0,
        ..before
    };
    expect::violation(cx.driver().update_resources(&id, &none).await, "/pids")?;
    expect::equal("limits after a refusal", cx.get(&id).await?.resources, before)?;
    let disk = ResourceLimits {
        memory: 600,
        disk: before.disk * 2,
        ..before
    };
    match cx.driver().update_resources(&id, &disk).await {
        Ok(()) => expect::equal("limits with another disk", cx.get(&id).await?.resources, disk),
        Err(error) => {
            expect::equal("code of the refusal", error.code(), "CONFIGURATION_ERROR")?;
            expect::equal("limits after a refusal", cx.get(&id).await?.resources, before)
        }
    }
}

async fn update_over_capacity(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let before = cx.get(&id).await?.resources;
    let (limits, requested) = too_much("cpu");
    let updated = cx.driver().update_resources(&id, &limits).await;
    names_the_resource(
        &expect::permanent(updated, "RESOURCE_LIMIT_EXCEEDED")?,
        "cpu",
        requested,
    )?;
    expect::equal("limits after a refusal", cx.get(&id).await?.resources, before)
}
