//! `container_stats` and `stream_stats`.

use driver_types::{Capability, ContainerStats, ResourceLimits, SecurityOptions, StopOptions};

use super::inside::{ends, idle, next};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::context::until;
use crate::expect;

const STATS: &[Capability] = &[Capability::Stats];
const RULES: &[&str] = &["3.stats", "3.stats.absent"];
const MIB: u64 = ResourceLimits::MIB;

pub(super) fn register(group: &mut Group) {
    group
        .case("memory_and_pids", memory_and_pids)
        .needs(STATS)
        .proves(RULES);
    group.case("cpu_grows", cpu_grows).needs(STATS).proves(RULES);
    group
        .case("limits_are_the_containers", limits)
        .needs(STATS)
        .proves(RULES);
    group
        .case("throttling_is_counted", throttling)
        .needs(&[Capability::Stats, Capability::CpuLimit])
        .proves(RULES);
    group
        .case("oom_kills_are_counted", oom_kills)
        .needs(&[Capability::Stats, Capability::MemoryLimit])
        .proves(RULES);
    group.case("disk_used", disk_used).needs(STATS).proves(RULES);
    group
        .case("network_is_absent_without_one", no_network)
        .needs(STATS)
        .proves(&["3.stats.absent"]);
    group
        .case("paused", paused)
        .needs(&[Capability::Stats, Capability::Pause])
        .proves(RULES);
    group
        .case("not_running", not_running)
        .needs(STATS)
        .proves(&["2.invalid"]);
    group
        .case("stream_goes_on", stream_goes_on)
        .needs(STATS)
        .proves(&["3.stats"]);
    group
        .case("stream_ends_with_the_container", stream_ends)
        .needs(STATS)
        .proves(&["3.stats"]);
    group
        .case("stream_interval_has_a_floor", interval_floor)
        .needs(STATS)
        .proves(&["3.stats"]);
}

async fn read(cx: &Context, id: &str) -> Result<ContainerStats, crate::case::CaseError> {
    Ok(cx.driver().container_stats(id).await?)
}

async fn memory_and_pids(cx: Context) -> CaseResult {
    let id = cx.ready(["alloc", "24", ",", "fork", "3", "M"]).await?.id;
    let stats = read(&cx, &id).await?;
    let at_least = |value: Option<u64>, least: u64| value.is_none_or(|value| value >= least);
    expect::that(
        "24 MiB or more, or absent",
        at_least(stats.memory.current_bytes, 24 * MIB),
        &stats.memory,
    )?;
    expect::that(
        "a peak not below that, or absent",
        at_least(stats.memory.peak_bytes, 24 * MIB),
        &stats.memory,
    )?;
    expect::that(
        "4 processes or more, or absent",
        at_least(stats.pids.current, 4),
        &stats.pids,
    )?;
    let told = stats.memory.current_bytes.is_some() && stats.pids.current.is_some();
    expect::that("memory and processes, which every engine counts", told, &stats)
}

async fn cpu_grows(cx: Context) -> CaseResult {
    let id = cx.run(&cx.config(["burn", "600000", "1"])).await?.id;
    let first = expect::some("processor time", read(&cx, &id).await?.cpu.usage_nanos)?;
    until("a growth of processor time", || async {
        Ok(read(&cx, &id).await?.cpu.usage_nanos.filter(|now| *now > first))
    })
    .await?;
    Ok(())
}

async fn limits(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().memory(96).pids(37);
    let id = cx.run(&cx.config(["forever"]).resources(limits)).await?.id;
    let stats = read(&cx, &id).await?;
    expect::that(
        "96 MiB, or absent",
        stats.memory.limit_bytes.is_none_or(|limit| limit == 96 * MIB),
        &stats.memory,
    )?;
    expect::that(
        "37 processes, or absent",
        stats.pids.limit.is_none_or(|limit| limit == 37),
        &stats.pids,
    )
}

async fn throttling(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().cpu(0.1);
    let id = cx
        .run(&cx.config(["burn", "600000", "2"]).resources(limits))
        .await?
        .id;
    until("periods and time of throttling, or both absent", || async {
        let cpu = read(&cx, &id).await?.cpu;
        let counted = |value: Option<u64>| value.is_none_or(|value| value > 0);
        Ok((counted(cpu.throttled_periods) && counted(cpu.throttled_nanos)).then_some(()))
    })
    .await
}

async fn oom_kills(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().memory(48);
    let id = cx
        .ready_with(cx.config(["alloc-child", "200"]).resources(limits))
        .await?
        .id;
    cx.lines(&id).await?.expect("alloc-child", "signal 9")?;
    let stats = read(&cx, &id).await?;
    expect::that(
        "an out-of-memory kill, or absent",
        stats.memory.oom_kills != Some(0),
        &stats.memory,
    )
}

async fn disk_used(cx: Context) -> CaseResult {
    let config = cx
        .config(["fill", "/work/file", "9"])
        .security(SecurityOptions::default().read_only(false));
    let id = cx.ready_with(config).await?.id;
    let used = read(&cx, &id).await?.disk_used_bytes;
    expect::that(
        "9 MiB or more, or absent",
        used.is_none_or(|used| used >= 9 * MIB),
        used,
    )
}

async fn no_network(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    expect::equal(
        "network of a container without one",
        read(&cx, &id).await?.network,
        None,
    )
}

async fn paused(cx: Context) -> CaseResult {
    let id = cx.ready(["alloc", "16"]).await?.id;
    cx.driver().pause_container(&id).await?;
    let memory = read(&cx, &id).await?.memory;
    expect::that(
        "16 MiB or more",
        memory.current_bytes.is_some_and(|used| used >= 16 * MIB),
        &memory,
    )
}

async fn not_running(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(["forever"])).await?.id;
    expect::permanent(cx.driver().container_stats(&id).await, "INVALID_STATE")?;
    expect::permanent(
        cx.driver().stream_stats(&id, 200).await.map(drop),
        "INVALID_STATE",
    )?;
    cx.driver().start_container(&id).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    expect::permanent(cx.driver().container_stats(&id).await, "INVALID_STATE")?;
    Ok(())
}

async fn stream_goes_on(cx: Context) -> CaseResult {
    let id = cx.run(&cx.config(["burn", "600000", "1"])).await?.id;
    let mut stream = cx.driver().stream_stats(&id, 200).await?;
    let mut last = next("a reading", &mut stream).await?;
    for _ in 0..3 {
        let reading = next("another reading", &mut stream).await?;
        expect::that(
            "a later time",
            reading.time >= last.time,
            (last.time, reading.time),
        )?;
        expect::that(
            "more processor time",
            reading.cpu.usage_nanos >= last.cpu.usage_nanos,
            (&last.cpu, &reading.cpu),
        )?;
        last = reading;
    }
    Ok(())
}

async fn stream_ends(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let mut stream = cx.driver().stream_stats(&id, 200).await?;
    next("a reading", &mut stream).await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    ends("the end of the readings", &mut stream).await
}

async fn interval_floor(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    expect::permanent(
        cx.driver().stream_stats(&id, 99).await.map(drop),
        "CONFIGURATION_ERROR",
    )?;
    Ok(())
}
