//! Workloads that take all they can: they are held, neighbours go on, and they can be stopped.

use driver_types::{
    Capability, ContainerConfig, ContainerStatus, ExitReason, LogOptions, ResourceLimits, SecurityOptions,
    StopOptions,
};

use futures_util::TryStreamExt;

use super::escape::{ESCAPE, needs_a_kernel};
use super::inside::idle;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::context::until;
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("fork_bomb", fork_bomb)
        .needs(&[Capability::PidsLimit, Capability::Exec])
        .proves(&["7.escape", "6.pids"]);
    group
        .case("memory_bomb", memory_bomb)
        .needs(&[Capability::MemoryLimit, Capability::Exec])
        .proves(&["7.escape", "6.memory"]);
    group
        .case("descriptor_bomb", |cx| {
            kernel_memory_bomb(cx, &["open-many", "3000000"])
        })
        .needs(&[Capability::MemoryLimit, Capability::Exec])
        .proves(ESCAPE);
    group
        .case("inode_bomb", |cx| {
            kernel_memory_bomb(cx, &["files", "/tmp", "300000"])
        })
        .needs(&[
            Capability::MemoryLimit,
            Capability::Exec,
            Capability::ReadOnlyRoot,
        ])
        .proves(ESCAPE);
    group
        .case("shared_memory_is_bounded", shared_memory)
        .needs(&[Capability::MemoryLimit])
        .proves(ESCAPE);
    group
        .case("log_flood", log_flood)
        .needs(&[Capability::CpuLimit])
        .proves(ESCAPE);
    group
        .case("log_flood_is_bounded_on_disk", log_flood_on_disk)
        .needs(&[Capability::StreamLogs])
        .timeout_seconds(180)
        .proves(ESCAPE);
    group
        .case("terminal_escapes_are_data", terminal_escapes)
        .proves(ESCAPE);
}

/// Bytes of a flood of output, several times what a driver keeps.
const FLOOD: usize = 192 << 20;

fn limited(cx: &Context, commands: &[&str], limits: ResourceLimits) -> ContainerConfig {
    cx.config(commands).resources(limits)
}

/// A neighbour answers, and the container can be stopped.
async fn held(cx: &Context, neighbour: &str, bomb: &str) -> CaseResult {
    cx.exec_lines(neighbour, ["uid"]).await?.expect("uid", "1000")?;
    cx.driver().stop_container(bomb, &StopOptions::force()).await?;
    let status = cx.get(bomb).await?.status;
    expect::that("an end", status.has_ended(), status)?;
    expect::equal(
        "the neighbour",
        cx.get(neighbour).await?.status,
        ContainerStatus::Running,
    )
}

async fn fork_bomb(cx: Context) -> CaseResult {
    let neighbour = idle(&cx).await?;
    let config = limited(&cx, &["fork", "200", "BOMB"], ResourceLimits::default().pids(16));
    let bomb = cx.ready_with(config).await?.id;
    cx.lines(&bomb).await?.expect_errno("fork", "EAGAIN")?;
    held(&cx, &neighbour, &bomb).await
}

async fn memory_bomb(cx: Context) -> CaseResult {
    let neighbour = idle(&cx).await?;
    let config = limited(&cx, &["alloc", "900"], ResourceLimits::default().memory(32));
    let finished = cx.finish(&config).await?;
    expect::equal("reason", finished.exit.reason, ExitReason::Oom)?;
    held(&cx, &neighbour, &finished.container.id).await
}

/// The kernel's own memory counts as well: the bomb meets a limit, or is stopped.
async fn kernel_memory_bomb(cx: Context, bomb: &'static [&'static str]) -> CaseResult {
    needs_a_kernel(&cx)?;
    let neighbour = idle(&cx).await?;
    let config = limited(&cx, bomb, ResourceLimits::default().memory(48).cpu(1.0));
    let finished = cx.finish(&config).await?;
    let limit = ["EMFILE", "ENFILE", "E23", "ENOMEM", "ENOSPC", "EDQUOT"];
    let met = finished
        .output
        .errno(bomb[0])
        .is_some_and(|errno| limit.contains(&errno));
    expect::that(
        format!("one of {limit:?}, or the end by oom"),
        met || finished.exit.reason == ExitReason::Oom,
        (&finished.exit, finished.output.text()),
    )?;
    held(&cx, &neighbour, &finished.container.id).await
}

async fn shared_memory(cx: Context) -> CaseResult {
    let config = limited(
        &cx,
        &["fill", "/dev/shm/full", "600"],
        ResourceLimits::default().memory(256),
    );
    let finished = cx.finish(&config).await?;
    let is_full = finished.output.errno("fill") == Some("ENOSPC");
    if is_full {
        let filled = finished.output.number("filled")?;
        return expect::that("less than the memory of the container", filled < 256, filled);
    }
    expect::equal("reason", finished.exit.reason, ExitReason::Oom)
}

/// More than is kept of it: what is too old goes.
async fn log_flood_on_disk(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let config = cx.config(["flood", "out", &FLOOD.to_string(), ",", "out", "the end"]);
    let id = cx.finish(&config).await?.container.id;
    let mut log = cx.driver().stream_logs(&id, &LogOptions::default()).await?;
    let (mut kept, mut last) = (0, Vec::new());
    while let Some(chunk) = log.try_next().await? {
        kept += chunk.data.len();
        last = chunk.data.to_vec();
    }
    expect::that("less than was written", kept < FLOOD / 2, kept)?;
    expect::that("the end of the output", last.ends_with(b"the end\n"), last)
}

/// The container that writes without end can be stopped.
async fn log_flood(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let limits = ResourceLimits::default().cpu(0.2);
    let id = cx
        .run(&limited(&cx, &["flood", "out", "268435456"], limits))
        .await?
        .id;
    let tail = driver_types::LogOptions {
        tail: Some(1),
        ..Default::default()
    };
    until("something in the log", || async {
        let log = cx
            .driver()
            .get_container_logs(&id, &tail)
            .await
            .map_err(CaseError::from)?;
        Ok((!log.is_empty()).then_some(()))
    })
    .await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    let status = cx.get(&id).await?.status;
    expect::that("an end", status.has_ended(), status)
}

/// A title, a cleared screen, a report of the cursor, and a bell: bytes like others.
async fn terminal_escapes(cx: Context) -> CaseResult {
    let sent = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[6n\u{7f}\r\u{8}";
    let hex: String = sent.bytes().map(|byte| format!("{byte:02x}")).collect();
    let config = cx
        .config(["raw", "out", &hex])
        .security(SecurityOptions::default());
    let id = cx.finish(&config).await?.container.id;
    expect::equal("bytes of the log", cx.log(&id).await?.as_str(), sent)
}
