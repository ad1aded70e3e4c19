//! Resource limits, judged from inside.

use driver_types::{
    Capability, ContainerConfig, ContainerFilter, DriverError, ErrorKind, ExitReason, ResourceLimits,
    SecurityOptions, Signal, Support, SupportLevel,
};

use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseResult, Failure, Group};
use crate::context::until;
use crate::expect;

const MEMORY: &[Capability] = &[Capability::MemoryLimit];

const PIDS: &[Capability] = &[Capability::PidsLimit];

const TMPFS: &[Capability] = &[Capability::Tmpfs, Capability::MemoryLimit];

const CAPACITY: &[&str] = &["1.resources.capacity", "3.create.order"];

pub(super) fn register(group: &mut Group) {
    group
        .case("cpu_over_capacity", |cx| over_capacity(cx, "cpu"))
        .needs(&[Capability::CpuLimit])
        .proves(CAPACITY);
    group
        .case("memory_over_capacity", |cx| over_capacity(cx, "memory"))
        .needs(MEMORY)
        .proves(CAPACITY);
    group
        .case("disk_over_capacity", |cx| over_capacity(cx, "disk"))
        .proves(CAPACITY);
    group
        .case("init_counts_as_one_of_pids", init_counts)
        .proves(&["1.config.init.pids"]);
    group
        .case("enforcement_is_told", enforcement)
        .proves(&["1.enforcement", "1.config.resources", "6.disk"]);
    group
        .case("limits_of_an_instance_are_the_configs", echo)
        .needs(&[
            Capability::CpuLimit,
            Capability::MemoryLimit,
            Capability::PidsLimit,
        ])
        .proves(&["1.config.resources"]);
    group
        .case("memory_within_the_limit", memory_within)
        .needs(MEMORY)
        .proves(&["6.memory"]);
    group
        .case("memory_oom_reason", memory_oom_reason)
        .needs(MEMORY)
        .proves(&["6.memory", "6.oom", "1.exit"]);
    group
        .case("oom_of_a_child_is_told", oom_of_a_child)
        .needs(MEMORY)
        .proves(&["6.memory", "6.oom"]);
    group
        .case("plain_sigkill_is_not_oom", plain_sigkill)
        .needs(MEMORY)
        .proves(&["6.oom", "1.exit"]);
    group
        .case("a_new_run_forgets_the_oom", new_run_forgets_oom)
        .needs(MEMORY)
        .proves(&["6.oom", "2.newRun"]);
    group
        .case("swap_is_none", swap_is_none)
        .needs(MEMORY)
        .proves(&["6.swap"]);
    group
        .case("tmpfs_has_its_size", tmpfs_size)
        .needs(&[Capability::Tmpfs])
        .proves(&["1.config.tmpfs"]);
    group
        .case("tmpfs_counts_as_memory", tmpfs_counts)
        .needs(TMPFS)
        .proves(&["1.config.tmpfs", "6.memory"]);
    group.case("pids", pids).needs(PIDS).proves(&["6.pids"]);
    group
        .case("pids_count_execs", pids_count_execs)
        .needs(&[Capability::PidsLimit, Capability::Exec])
        .proves(&["6.pids"]);
    group
        .case("cpu_within_15_percent", cpu)
        .needs(&[Capability::CpuLimit])
        .proves(&["6.cpu"]);
    group
        .case("disk", disk)
        .needs(&[Capability::DiskLimit])
        .proves(&["6.disk"]);
    super::limits_update::register(group);
}

/// A config with these limits.
fn limited<const N: usize>(cx: &Context, commands: [&str; N], limits: ResourceLimits) -> ContainerConfig {
    cx.config(commands).resources(limits)
}

/// More than any host has, and less than the wire form forbids.
pub(super) fn too_much(resource: &str) -> (ResourceLimits, f64) {
    let limits = ResourceLimits::default();
    match resource {
        "cpu" => (limits.cpu(60_000.0), 60_000.0),
        "memory" => (limits.memory(1 << 40), (1_u64 << 40) as f64),
        _ => (limits.disk(1 << 40), (1_u64 << 40) as f64),
    }
}

async fn over_capacity(cx: Context, resource: &'static str) -> CaseResult {
    let (limits, requested) = too_much(resource);
    let created = cx.driver().create_container(&limited(&cx, NOTHING, limits)).await;
    names_the_resource(
        &expect::permanent(created, "RESOURCE_LIMIT_EXCEEDED")?,
        resource,
        requested,
    )?;
    let left = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::that("no container", left.is_empty(), &left)
}

/// The error names the resource, the limit and the request.
#[track_caller]
pub(super) fn names_the_resource(error: &DriverError, resource: &str, requested: f64) -> CaseResult {
    match error.kind() {
        ErrorKind::ResourceLimit {
            resource: told,
            limit,
            requested: asked,
        } => {
            expect::equal(
                "resource and request",
                (told.as_str(), *asked),
                (resource, requested),
            )?;
            expect::that(
                "a limit between 0 and the request",
                *limit > 0.0 && *limit < requested,
                limit,
            )
        }
        other => Err(Failure::new("the payload of a resource limit", format!("{other:?}")).into()),
    }
}

async fn init_counts(cx: Context) -> CaseResult {
    let config = limited(&cx, NOTHING, ResourceLimits::default().pids(1));
    expect::violation(cx.driver().create_container(&config).await, "/resources/pids")?;
    Ok(())
}

/// Each limit is held as the capabilities say, and what is not native has a reason.
async fn enforcement(cx: Context) -> CaseResult {
    for read_only in [true, false] {
        let security =
            SecurityOptions::default().read_only(read_only && cx.supports(Capability::ReadOnlyRoot));
        let trivial = security.read_only;
        let told = cx
            .create(&cx.config(NOTHING).security(security))
            .await?
            .enforcement;
        let declared = |capability| cx.capabilities().get(capability).level;
        let disk = if trivial {
            SupportLevel::Native
        } else {
            declared(Capability::DiskLimit)
        };
        expect::equal("cpu", told.cpu.level, declared(Capability::CpuLimit))?;
        expect::equal("memory", told.memory.level, declared(Capability::MemoryLimit))?;
        expect::equal("disk", told.disk.level, disk)?;
        expect::equal("pids", told.pids.level, declared(Capability::PidsLimit))?;
        let reasoned = |support: &Support| support.level == SupportLevel::Native || support.reason.is_some();
        let all = [&told.cpu, &told.memory, &told.disk, &told.pids];
        expect::that(
            "a reason for what is not native",
            all.into_iter().all(reasoned),
            &told,
        )?;
    }
    Ok(())
}

async fn echo(cx: Context) -> CaseResult {
    let limits = ResourceLimits {
        cpu: 0.25,
        memory: 77,
        disk: 33,
        pids: 19,
    };
    let id = cx.create(&limited(&cx, NOTHING, limits)).await?.id;
    expect::equal("limits", cx.get(&id).await?.resources, limits)
}

async fn memory_within(cx: Context) -> CaseResult {
    let finished = cx
        .finish(&limited(
            &cx,
            ["alloc", "32"],
            ResourceLimits::default().memory(64),
        ))
        .await?;
    finished.output.expect("alloc", "32")?;
    expect::equal("reason", finished.exit.reason, ExitReason::Exited)
}

async fn memory_oom_reason(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().memory(32);
    let finished = cx
        .finish(&limited(&cx, ["alloc", "400", ",", "out", "survived"], limits))
        .await?;
    expect::that(
        "a process that did not survive",
        !finished.output.has("survived"),
        finished.output.text(),
    )?;
    expect::equal("reason", finished.exit.reason, ExitReason::Oom)?;
    expect::equal("exit code", finished.exit.exit_code, Some(137))?;
    expect::equal(
        "reason that get_container tells",
        finished.container.exit.map(|exit| exit.reason),
        Some(ExitReason::Oom),
    )
}

async fn oom_of_a_child(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().memory(48);
    let finished = cx
        .finish(&limited(&cx, ["alloc-child", "400", ",", "exit", "0"], limits))
        .await?;
    finished.output.expect("alloc-child", "signal 9")?;
    expect::equal("exit code", finished.exit.exit_code, Some(0))?;
    expect::equal("reason", finished.exit.reason, ExitReason::Oom)
}

async fn plain_sigkill(cx: Context) -> CaseResult {
    let exit = cx.finish(&cx.config(["kill", "SIGKILL"])).await?.exit;
    let facts = (exit.exit_code, exit.signal, exit.reason);
    expect::equal(
        "code, signal, reason",
        facts,
        (Some(137), Some(Signal::KILL), ExitReason::Signaled),
    )
}

/// The second run ends at `mkdir`, before it needs memory.
async fn new_run_forgets_oom(cx: Context) -> CaseResult {
    let commands = [
        "strict",
        ",",
        "mkdir",
        "/work/once",
        ",",
        "alloc-child",
        "400",
        ",",
        "exit",
        "0",
    ];
    let config = limited(&cx, commands, ResourceLimits::default().memory(48));
    let first = cx
        .finish(&config.security(SecurityOptions::default().read_only(false)))
        .await?;
    expect::equal("reason of the first run", first.exit.reason, ExitReason::Oom)?;
    let id = first.container.id;
    cx.driver().start_container(&id).await?;
    let second = cx.wait_exit(&id).await?;
    expect::equal(
        "code and reason of the second run",
        (second.exit_code, second.reason),
        (Some(1), ExitReason::Exited),
    )
}

/// With swap, a process that fills more than its memory would live on.
async fn swap_is_none(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().memory(32);
    let finished = cx
        .finish(&limited(&cx, ["alloc", "40", ",", "out", "survived"], limits))
        .await?;
    expect::that(
        "a process that did not survive",
        !finished.output.has("survived"),
        finished.output.text(),
    )
}

async fn tmpfs_size(cx: Context) -> CaseResult {
    let output = cx
        .finish(&cx.config(["fill", "/scratch/file", "12"]).tmpfs("/scratch", 8))
        .await?
        .output;
    output.expect_errno("fill", "ENOSPC")?;
    let filled = output.number("filled")?;
    expect::that("7 or 8 MiB that fit", (7..=8).contains(&filled), filled)
}

async fn tmpfs_counts(cx: Context) -> CaseResult {
    let config = limited(
        &cx,
        ["fill", "/scratch/file", "200"],
        ResourceLimits::default().memory(32),
    );
    let exit = cx.finish(&config.tmpfs("/scratch", 256)).await?.exit;
    expect::equal("reason", exit.reason, ExitReason::Oom)
}

async fn pids(cx: Context) -> CaseResult {
    let finished = cx
        .finish(&limited(
            &cx,
            ["fork", "40", "M"],
            ResourceLimits::default().pids(12),
        ))
        .await?;
    finished.output.expect_errno("fork", "EAGAIN")?;
    let started = finished.output.number("fork")?;
    expect::that(
        "1 to 11 processes beside the first",
        (1..=11).contains(&started),
        started,
    )
}

async fn pids_count_execs(cx: Context) -> CaseResult {
    let id = cx
        .ready_with(limited(
            &cx,
            ["fork", "10", "M"],
            ResourceLimits::default().pids(24),
        ))
        .await?
        .id;
    let output = cx.exec_lines(&id, ["fork", "40", "N", ",", "reap"]).await?;
    output.expect_errno("fork", "EAGAIN")?;
    let started = output.number("fork")?;
    expect::that("1 to 13 more processes", (1..=13).contains(&started), started)
}

/// The 2 s are those of the process's own clock. Less than the limit is fine: the machine may be busy.
async fn cpu(cx: Context) -> CaseResult {
    let config = limited(&cx, ["burn", "2000", "2"], ResourceLimits::default().cpu(0.4));
    let output = cx.finish(&config).await?.output;
    let value = output.value("burn")?;
    let numbers: Vec<f64> = value
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    let &[used, wall] = numbers.as_slice() else {
        return Err(Failure::new("burn=CPU_MS WALL_MS", value).into());
    };
    expect::that("2 s of wall time", wall >= 1990.0, wall)?;
    expect::that(
        "at most 0.4 cores and 15 %",
        used / wall <= 0.4 * 1.15,
        used / wall,
    )?;
    expect::that("some processor time", used > 0.0, used)
}

/// Native: the write fails. Emulated: the container is stopped.
async fn disk(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().disk(16);
    let security = SecurityOptions::default().read_only(false);
    let config = limited(
        &cx,
        ["fill", "/work/file", "48", ",", "out", "ready", ",", "forever"],
        limits,
    );
    let id = cx.run(&config.security(security)).await?.id;
    if cx.capabilities().get(Capability::DiskLimit).level == SupportLevel::Native {
        cx.await_line(&id, "ready").await?;
        let output = cx.lines(&id).await?;
        let full = ["ENOSPC", "EDQUOT"]
            .into_iter()
            .any(|errno| output.errno("fill") == Some(errno));
        return expect::that("fill!ENOSPC or fill!EDQUOT", full, output.text());
    }
    until("the end of a container that exceeds its disk", || async {
        Ok(cx.get(&id).await?.status.has_ended().then_some(()))
    })
    .await
}
