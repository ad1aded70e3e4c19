//! `signal_container`.

use driver_types::{
    Capability, ContainerDriverExt, ContainerStatus, ErrorKind, ExitReason, Signal, StopOptions,
};

use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

/// As the workload program names them.
const SIGNALS: [&str; 7] = [
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGWINCH",
];

pub(super) fn register(group: &mut Group) {
    group
        .case("delivers", delivers)
        .proves(&["3.signal"])
        .needs(&[Capability::Signal]);
    for name in SIGNALS {
        let case = group.case(format_args!("delivers_{}", name.to_lowercase()), move |cx| {
            delivers_one(cx, name)
        });
        case.proves(&["3.signal"]).needs(&[Capability::Signal]);
    }
    group
        .case("default_action_ends_it", default_action_ends_it)
        .proves(&["3.signal", "1.exit"])
        .needs(&[Capability::Signal]);
    group
        .case("kill_ends_it", kill_ends_it)
        .proves(&["3.signal", "1.exit"])
        .needs(&[Capability::Signal]);
    group
        .case("not_running", not_running)
        .proves(&["2.invalid"])
        .needs(&[Capability::Signal]);
    let case = group.case("paused_is_not_running", paused_is_not_running);
    case.proves(&["2.invalid"])
        .needs(&[Capability::Signal, Capability::Pause]);
}

async fn delivers(cx: Context) -> CaseResult {
    let container = cx.ready(["trap", "USR1"]).await?;
    for count in 1..=3 {
        cx.driver().signal_container(&container.id, Signal::USR1).await?;
        crate::context::until("as many confirmations as signals", || async {
            let output = cx.lines(&container.id).await?;
            Ok((output.values("trap").count() == count).then_some(()))
        })
        .await?;
    }
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Running,
    )
}

async fn delivers_one(cx: Context, name: &'static str) -> CaseResult {
    let container = cx.ready(["trap", name]).await?;
    let signal = expect::some("a known signal", name.parse().ok())?;
    cx.driver().signal_container(&container.id, signal).await?;
    cx.await_line(&container.id, &format!("trap={name}")).await?;
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Running,
    )
}

async fn ends_with(cx: &Context, signal: Signal) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver().signal_container(&container.id, signal).await?;
    let exit = cx.wait_exit(&container.id).await?;
    expect::equal("signal of the exit", exit.signal, Some(signal))?;
    expect::equal("exit code", exit.exit_code, Some(signal.exit_code()))?;
    expect::equal("reason", exit.reason, ExitReason::Signaled)?;
    // `stopped` is for what `stop_container` did.
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Exited,
    )
}

async fn default_action_ends_it(cx: Context) -> CaseResult {
    ends_with(&cx, Signal::TERM).await
}

async fn kill_ends_it(cx: Context) -> CaseResult {
    ends_with(&cx, Signal::KILL).await
}

async fn refused(cx: &Context, id: &str, status: ContainerStatus) -> Result<(), CaseError> {
    let error = expect::permanent(
        cx.driver().signal_container(id, Signal::TERM).await,
        "INVALID_STATE",
    )?;
    let ErrorKind::InvalidState {
        status: told,
        allowed,
        ..
    } = error.kind()
    else {
        return expect::that("the payload of INVALID_STATE", false, &error);
    };
    expect::equal("status in the error", told.as_str(), status.name())?;
    expect::equal(
        "legal statuses in the error",
        allowed.0.clone(),
        vec!["running".to_owned()],
    )?;
    expect::equal("status afterwards", cx.get(id).await?.status, status)
}

async fn not_running(cx: Context) -> CaseResult {
    let created = cx.create(&cx.config(["forever"])).await?;
    refused(&cx, &created.id, ContainerStatus::Created).await?;
    let exited = cx.finish(&cx.config(["exit", "0"])).await?.container;
    refused(&cx, &exited.id, ContainerStatus::Exited).await?;
    let stopped = cx.ready(["mark", "x"]).await?;
    cx.driver()
        .stop_container(&stopped.id, &StopOptions::force())
        .await?;
    refused(&cx, &stopped.id, ContainerStatus::Stopped).await?;
    cx.driver().force_remove(&stopped.id).await?;
    let gone = cx.driver().signal_container(&stopped.id, Signal::TERM).await;
    expect::permanent(gone, "CONTAINER_NOT_FOUND").map(drop)
}

async fn paused_is_not_running(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    cx.driver().pause_container(&container.id).await?;
    refused(&cx, &container.id, ContainerStatus::Paused).await
}
