//! `start_container`, and the init process.

use driver_types::{
    Capability, ContainerConfig, ContainerDriverExt, ContainerStatus, ErrorKind, StopOptions,
};

use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("returns_when_running", returns_when_running)
        .proves(&["3.start.returns"]);
    group
        .case("started_at_is_set", started_at_is_set)
        .proves(&["1.instance.fields"]);
    group
        .case("new_run_after_exit", new_run_after_exit)
        .proves(&["2.newRun"]);
    group
        .case("new_run_after_stop", new_run_after_stop)
        .proves(&["2.newRun"]);
    group
        .case("restarts_count_runs", restarts_count_runs)
        .proves(&["2.newRun"]);
    group
        .case("files_stay_between_runs", files_stay_between_runs)
        .proves(&["2.newRun"]);
    let failures = [
        ("missing_program", "/no/such/program", 127),
        ("missing_program_on_path", "no-such-program", 127),
        ("not_executable", "/not-executable", 126),
        ("directory_as_program", "/dir", 126),
        ("bad_format", "/bad-format", 126),
    ];
    for (name, program, code) in failures {
        group
            .case(name, move |cx| cannot_start(cx, program, code))
            .proves(&["3.start.reason", "3.start.failed"]);
    }
    group
        .case("failed_start_can_be_repeated", failed_start_can_be_repeated)
        .proves(&["3.start.failed"])
        .needs(&[Capability::Copy]);
    group
        .case("failed_start_after_a_run", failed_start_after_a_run)
        .proves(&["3.start.failed"])
        .needs(&[Capability::Copy]);
    group
        .case("init_reaps_orphans", init_reaps_orphans)
        .proves(&["1.config.init"])
        .needs(&[Capability::Init]);
    group
        .case("init_passes_the_exit_code", init_passes_the_exit_code)
        .proves(&["1.config.init"])
        .needs(&[Capability::Init]);
    group
        .case("without_init_the_program_is_pid_1", without_init)
        .proves(&["1.config.init"])
        .needs(&[Capability::Init]);
}

async fn returns_when_running(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    cx.driver().start_container(&container.id).await?;
    let started = cx.get(&container.id).await?;
    expect::equal(
        "status right after start",
        started.status,
        ContainerStatus::Running,
    )?;
    expect::equal(
        "is_container_healthy",
        cx.driver().is_container_healthy(&container.id).await?,
        true,
    )
}

async fn started_at_is_set(cx: Context) -> CaseResult {
    let container = cx.run(&cx.config(["forever"])).await?;
    let started_at = expect::some("startedAt", container.started_at)?;
    expect::that(
        "startedAt >= createdAt",
        started_at >= container.created_at,
        &container,
    )?;
    expect::equal("exit", container.exit, None)?;
    expect::equal("finishedAt", container.finished_at, None)?;
    expect::equal("restarts of the first run", container.restarts, 0)
}

async fn new_run_after_exit(cx: Context) -> CaseResult {
    let first = cx
        .finish(&cx.config(["sleep", "20", ",", "exit", "3"]))
        .await?
        .container;
    expect::equal(
        "status after the first run",
        first.status,
        ContainerStatus::Exited,
    )?;
    cx.driver().start_container(&first.id).await?;
    cx.wait_exit(&first.id).await?;
    let second = cx.get(&first.id).await?;
    expect::equal("restarts", second.restarts, 1)?;
    expect::that(
        "a new startedAt",
        second.started_at > first.started_at,
        (first.started_at, second.started_at),
    )?;
    expect::that("a new exit", second.exit.is_some(), &second.exit)
}

async fn new_run_after_stop(cx: Context) -> CaseResult {
    let first = cx.ready(["mark", "x"]).await?;
    cx.driver()
        .stop_container(&first.id, &StopOptions::force())
        .await?;
    expect::equal(
        "status after stop",
        cx.get(&first.id).await?.status,
        ContainerStatus::Stopped,
    )?;
    cx.driver().start_container(&first.id).await?;
    let second = cx.get(&first.id).await?;
    expect::equal(
        "status of the second run",
        second.status,
        ContainerStatus::Running,
    )?;
    expect::equal("exit of the second run", second.exit, None)?;
    expect::equal("finishedAt of the second run", second.finished_at, None)?;
    expect::equal("restarts", second.restarts, 1)?;
    expect::that(
        "a new startedAt",
        second.started_at > first.started_at,
        (first.started_at, second.started_at),
    )
}

async fn restarts_count_runs(cx: Context) -> CaseResult {
    let container = cx.finish(&cx.config(["out", "x"])).await?.container;
    for run in 1..=3 {
        cx.driver().start_container(&container.id).await?;
        cx.wait_exit(&container.id).await?;
        expect::equal("restarts", cx.get(&container.id).await?.restarts, run)?;
    }
    Ok(())
}

async fn files_stay_between_runs(cx: Context) -> CaseResult {
    let config = writable(cx.config(["append", "/data/runs", "x", ",", "read", "/data/runs"]));
    let first = cx.finish(&config).await?;
    first.output.expect("read", "x")?;
    cx.driver().start_container(&first.container.id).await?;
    cx.wait_exit(&first.container.id).await?;
    let output = cx.lines(&first.container.id).await?;
    expect::equal(
        "the file after two runs",
        output.values("read").last(),
        Some("xx"),
    )
}

async fn cannot_start(cx: Context, program: &'static str, code: i32) -> CaseResult {
    if cx.image_is_supplied() {
        return expect::skip("the factory supplies an image without the suite's files");
    }
    let container = cx.create(&cx.config(["out", "x"]).entrypoint([program])).await?;
    for _ in 0..2 {
        let error = expect::permanent(
            cx.driver().start_container(&container.id).await,
            "CONTAINER_START_FAILED",
        )?;
        let found = match error.kind() {
            ErrorKind::ContainerStart { exit_code, .. } => *exit_code,
            _ => None,
        };
        expect::equal(format!("exit code in {error}"), found, Some(code))?;
        let now = cx.get(&container.id).await?;
        expect::equal(
            "status after a failed start",
            now.status,
            ContainerStatus::Created,
        )?;
        expect::equal("startedAt after a failed start", now.started_at, None)?;
    }
    Ok(())
}

async fn failed_start_can_be_repeated(cx: Context) -> CaseResult {
    let config = writable(cx.config(["out", "started at last"])).entrypoint(["/data/late"]);
    let container = cx.create(&config).await?;
    expect::code(
        cx.driver().start_container(&container.id).await,
        "CONTAINER_START_FAILED",
    )?;
    let program = cx.driver().read_file(&container.id, cx.program()).await?;
    cx.driver()
        .write_file(&container.id, "/data/late", &program, 0o755)
        .await?;
    cx.driver().start_container(&container.id).await?;
    cx.wait_exit(&container.id).await?;
    cx.lines(&container.id).await?.expect_line("started at last")?;
    expect::equal(
        "restarts: a failed start is no run",
        cx.get(&container.id).await?.restarts,
        0,
    )
}

async fn failed_start_after_a_run(cx: Context) -> CaseResult {
    let config = writable(cx.config(["exit", "4"])).entrypoint(["/data/program"]);
    let container = cx.create(&config).await?;
    let program = cx.driver().read_file(&container.id, cx.program()).await?;
    cx.driver()
        .write_file(&container.id, "/data/program", &program, 0o755)
        .await?;
    cx.driver().start_container(&container.id).await?;
    cx.wait_exit(&container.id).await?;
    cx.driver()
        .write_file(&container.id, "/data/program", b"not a program any more\n", 0o644)
        .await?;
    expect::code(
        cx.driver().start_container(&container.id).await,
        "CONTAINER_START_FAILED",
    )?;
    let after = cx.get(&container.id).await?;
    expect::equal(
        "status after a failed start",
        after.status,
        ContainerStatus::Exited,
    )?;
    expect::equal("restarts: a failed start is no run", after.restarts, 0)
}

async fn init_reaps_orphans(cx: Context) -> CaseResult {
    let output = cx.output(["orphan", "3", ",", "zombies", "5000"]).await?;
    output.expect("orphan", "3")?;
    output.expect("zombies", "0")
}

async fn init_passes_the_exit_code(cx: Context) -> CaseResult {
    let finished = cx.finish(&cx.config(["pid", ",", "exit", "17"])).await?;
    expect::that(
        "a pid other than 1",
        finished.output.number("pid")? > 1,
        finished.output.text(),
    )?;
    expect::equal("exit code", finished.exit.exit_code, Some(17))
}

async fn without_init(cx: Context) -> CaseResult {
    let output = cx.finish(&cx.config(["pid"]).init(false)).await?.output;
    output.expect("pid", "1")
}

fn writable(mut config: ContainerConfig) -> ContainerConfig {
    config.security = config.security.read_only(false);
    config
}
