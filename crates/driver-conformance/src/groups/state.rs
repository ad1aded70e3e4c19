//! The state table, generated from the data: one case a cell that a caller can reach.
//!
//! `removing` and `dead` have no cases: no caller can bring a container there, or hold it there. Nor has the end of
//! a paused process: while it is frozen nothing of the contract can end it but the moves of the table.

use driver_types::{
    Action, Capability, ContainerInstance, ContainerStatus, ErrorKind, RemoveOptions, Result, Signal,
    StopOptions, Transition,
};

use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

const STATUSES: [ContainerStatus; 5] = [
    ContainerStatus::Created,
    ContainerStatus::Running,
    ContainerStatus::Paused,
    ContainerStatus::Stopped,
    ContainerStatus::Exited,
];

pub(super) fn register(group: &mut Group) {
    for status in STATUSES {
        for action in Action::ALL
            .into_iter()
            .filter(|action| *action != Action::ProcessEnds)
        {
            let needs_pause =
                status == ContainerStatus::Paused || matches!(action, Action::Pause | Action::Resume);
            let needs: &[Capability] = if needs_pause { &[Capability::Pause] } else { &[] };
            let rule = if status.transition(action) == Transition::InvalidState {
                "2.invalid"
            } else {
                "2.table"
            };
            let name = format!("{status}_{}", action.name().replace(' ', "_"));
            group
                .case(name, move |cx| cell(cx, status, action))
                .proves(&[rule])
                .needs(needs);
        }
    }
    group
        .case("running_process_ends", running_process_ends)
        .proves(&["2.table", "1.status.ended"]);
    group
        .case("state_follows_status", state_follows_status)
        .proves(&["1.status.state"])
        .needs(&[Capability::Pause]);
}

async fn cell(cx: Context, status: ContainerStatus, action: Action) -> CaseResult {
    let before = bring_to(&cx, status).await?;
    let result = act(&cx, &before.id, action).await;
    let after = cx.driver().get_container(&before.id).await?;
    match status.transition(action) {
        Transition::To(expected) => {
            result?;
            expect::equal(
                "status afterwards",
                after.map(|container| container.status),
                Some(expected),
            )
        }
        Transition::NoOp => {
            result?;
            unchanged(&before, after)
        }
        Transition::Gone => {
            result?;
            expect::equal("the container afterwards", after, None)
        }
        Transition::InvalidState => {
            let error = expect::permanent(result, "INVALID_STATE")?;
            tells_legal_statuses(&error, &before, action)?;
            unchanged(&before, after)
        }
        Transition::RemoveRefused => {
            expect::permanent(result, "CONTAINER_REMOVE_FAILED")?;
            unchanged(&before, after)
        }
        Transition::Impossible => expect::skip("nothing can bring this about"),
    }
}

fn unchanged(before: &ContainerInstance, after: Option<ContainerInstance>) -> CaseResult {
    expect::equal("the container, unchanged", after.as_ref(), Some(before))
}

fn tells_legal_statuses(
    error: &driver_types::DriverError,
    before: &ContainerInstance,
    action: Action,
) -> CaseResult {
    let ErrorKind::InvalidState { id, status, allowed } = error.kind() else {
        return expect::that("the payload of INVALID_STATE", false, error);
    };
    expect::equal("id in the error", id, &before.id)?;
    expect::equal("status in the error", status.as_str(), before.status.name())?;
    let mut found = allowed.0.clone();
    let mut legal: Vec<_> = action.allowed().map(|status| status.to_string()).collect();
    found.sort();
    legal.sort();
    expect::equal("legal statuses in the error", found, legal)
}

/// A container in this status, with everything quiet: nothing changes any more by itself.
async fn bring_to(
    cx: &Context,
    status: ContainerStatus,
) -> std::result::Result<ContainerInstance, CaseError> {
    let id = match status {
        ContainerStatus::Created => cx.create(&cx.config(["forever"])).await?.id,
        ContainerStatus::Exited => exited(cx).await?,
        _ => cx.ready(["mark", "x"]).await?.id,
    };
    match status {
        ContainerStatus::Paused => cx.driver().pause_container(&id).await?,
        ContainerStatus::Stopped => cx.driver().stop_container(&id, &StopOptions::force()).await?,
        _ => {}
    }
    let container = cx.get(&id).await?;
    expect::equal("status before", container.status, status)?;
    Ok(container)
}

/// A container that ended by itself, and whose next run lasts.
async fn exited(cx: &Context) -> std::result::Result<String, CaseError> {
    if !cx.supports(Capability::Signal) {
        return Ok(cx
            .finish(&cx.config(["sleep", "2000", ",", "exit", "3"]))
            .await?
            .container
            .id);
    }
    let id = cx.ready(["mark", "x"]).await?.id;
    cx.driver().signal_container(&id, Signal::KILL).await?;
    cx.wait_exit(&id).await?;
    Ok(id)
}

async fn act(cx: &Context, id: &str, action: Action) -> Result<()> {
    let driver = cx.driver();
    match action {
        Action::Start => driver.start_container(id).await,
        Action::Stop => driver.stop_container(id, &StopOptions::timeout(1000)).await,
        Action::Pause => driver.pause_container(id).await,
        Action::Resume => driver.resume_container(id).await,
        Action::Remove => driver.remove_container(id, &RemoveOptions::default()).await,
        Action::RemoveForce => driver.remove_container(id, &RemoveOptions::force()).await,
        Action::ProcessEnds => Ok(()),
    }
}

async fn running_process_ends(cx: Context) -> CaseResult {
    let container = cx.run(&cx.config(["exit", "3"])).await?;
    let ended = cx.await_status(&container.id, ContainerStatus::Exited).await?;
    expect::equal("exit code", ended.exit.and_then(|exit| exit.exit_code), Some(3))
}

async fn state_follows_status(cx: Context) -> CaseResult {
    for status in STATUSES {
        let container = bring_to(&cx, status).await?;
        expect::equal(format!("state of {status}"), container.state, status.state())?;
    }
    Ok(())
}
