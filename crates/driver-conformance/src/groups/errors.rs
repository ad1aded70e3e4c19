//! Errors: unknown ids, hostile ids, deadlines, and the wire form of what a driver really returns.

use std::time::Duration;

use driver_types::{
    ByteStream, Capability, ContainerDriver, Deadlines, DriverError, ErrorKind, ExecSpec, LogOptions,
    Operation, RemoveOptions, ResourceLimits, Result, Signal, StopOptions, WaitCondition,
};
use futures_util::stream;

use super::inside::absent;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

/// Operations on a container by its id, but `get_container`, which answers `None`.
const BY_ID: [Operation; 19] = [
    Operation::StartContainer,
    Operation::StopContainer,
    Operation::RemoveContainer,
    Operation::GetContainerLogs,
    Operation::IsContainerHealthy,
    Operation::WaitContainer,
    Operation::SignalContainer,
    Operation::PauseContainer,
    Operation::ResumeContainer,
    Operation::Exec,
    Operation::ExecStream,
    Operation::Attach,
    Operation::StreamLogs,
    Operation::ContainerStats,
    Operation::StreamStats,
    Operation::CopyInto,
    Operation::CopyFrom,
    Operation::UpdateResources,
    Operation::SnapshotContainer,
];

/// Ids that must not reach an engine as a path, a query, a pattern or another operation.
const HOSTILE_IDS: [(&str, &str); 7] = [
    ("empty", ""),
    ("path", "../../version"),
    ("slash", "a/b"),
    ("query", "x?force=true"),
    ("escape", "x%2fstart"),
    ("newline", "x\r\nHost: y"),
    ("json", "json"),
];

/// A code with what makes a driver return it.
type Provoke =
    fn(
        Context,
    ) -> std::pin::Pin<Box<dyn Future<Output = std::result::Result<DriverError, CaseError>> + Send>>;

const PROVOKED: [(&str, Provoke); 8] = [
    ("CONTAINER_NOT_FOUND", |cx| {
        Box::pin(async move { error(cx.driver().start_container("nobody").await) })
    }),
    ("CONTAINER_CREATION_FAILED", |cx| Box::pin(taken_name(cx))),
    ("CONTAINER_START_FAILED", |cx| Box::pin(missing_program(cx))),
    ("CONTAINER_REMOVE_FAILED", |cx| Box::pin(remove_running(cx))),
    ("CONFIGURATION_ERROR", |cx| {
        Box::pin(async move { error(cx.driver().create_container(&cx.config(["x"]).name("n")).await) })
    }),
    ("RESOURCE_LIMIT_EXCEEDED", |cx| Box::pin(too_much_memory(cx))),
    ("IMAGE_NOT_FOUND", |cx| Box::pin(missing_image(cx))),
    ("VOLUME_NOT_FOUND", |cx| {
        Box::pin(async move { error(cx.driver().remove_volume("nobody").await) })
    }),
];

pub(super) fn register(group: &mut Group) {
    for operation in BY_ID {
        let needs: Vec<Capability> = operation.info().capability.into_iter().collect();
        let case = group.case(format_args!("unknown_id_{operation}"), move |cx| {
            unknown_id(cx, operation)
        });
        case.proves(&["2.unknown", "4.notFound"]).needs(&needs);
    }
    for (name, id) in HOSTILE_IDS {
        group
            .case(format_args!("hostile_id_{name}"), move |cx| hostile_id(cx, id))
            .proves(&["2.unknown"]);
    }
    for (code, provoke) in PROVOKED {
        let name = format!("wire_form_{}", code.to_lowercase());
        let case = group.case(name, move |cx| async move { wire_form(code, provoke(cx).await?) });
        case.proves(&["4.wire", "4.parts", "4.message", "4.retry"]);
        if code == "RESOURCE_LIMIT_EXCEEDED" {
            case.needs(&[Capability::MemoryLimit]);
        }
    }
    group
        .case("wire_form_invalid_state", |cx| async move {
            wire_form("INVALID_STATE", paused_created(cx).await?)
        })
        .proves(&["4.wire", "2.invalid"])
        .needs(&[Capability::Pause]);
    group
        .case("limits_print_without_decimals", limits_print_without_decimals)
        .needs(&[Capability::MemoryLimit])
        .proves(&["4.message", "1.resources.capacity"]);
    group
        .case("deadline_names_the_operation", deadline_names_the_operation)
        .proves(&["3.deadlines"])
        .needs(&[Capability::Wait]);
    group
        .case("deadline_of_exec", deadline_of_exec)
        .proves(&["3.deadlines"])
        .needs(&[Capability::Exec]);
    group
        .case("deadline_harms_nothing", deadline_harms_nothing)
        .proves(&["3.deadlines", "3.cancel"])
        .needs(&[Capability::Wait]);
    group
        .case("env_stays_secret_in_errors", env_stays_secret_in_errors)
        .proves(&["4.noSecrets"]);
}

fn error<T: std::fmt::Debug>(result: Result<T>) -> std::result::Result<DriverError, CaseError> {
    match result {
        Err(error) => Ok(error),
        Ok(value) => Err(crate::Failure::new("an error", format!("success: {value:?}")).into()),
    }
}

/// Calls an operation on an id, with options that are right.
async fn call(driver: &dyn ContainerDriver, operation: Operation, id: &str) -> Result<()> {
    let nothing: ByteStream = Box::pin(stream::empty());
    let spec = ExecSpec::new(["/workload"]);
    match operation {
        Operation::StartContainer => driver.start_container(id).await,
        Operation::StopContainer => driver.stop_container(id, &StopOptions::default()).await,
        Operation::RemoveContainer => driver.remove_container(id, &RemoveOptions::default()).await,
        Operation::GetContainerLogs => driver
            .get_container_logs(id, &LogOptions::default())
            .await
            .map(drop),
        Operation::IsContainerHealthy => driver.is_container_healthy(id).await.map(drop),
        Operation::WaitContainer => driver.wait_container(id, WaitCondition::Exited).await.map(drop),
        Operation::SignalContainer => driver.signal_container(id, Signal::TERM).await,
        Operation::PauseContainer => driver.pause_container(id).await,
        Operation::ResumeContainer => driver.resume_container(id).await,
        Operation::Exec => driver.exec(id, &spec).await.map(drop),
        Operation::ExecStream => driver.exec_stream(id, &spec).await.map(drop),
        Operation::Attach => driver.attach(id).await.map(drop),
        Operation::StreamLogs => driver.stream_logs(id, &LogOptions::default()).await.map(drop),
        Operation::ContainerStats => driver.container_stats(id).await.map(drop),
        Operation::StreamStats => driver.stream_stats(id, 1000).await.map(drop),
        Operation::CopyInto => driver.copy_into(id, "/tmp", nothing).await,
        Operation::CopyFrom => driver.copy_from(id, "/tmp").await.map(drop),
        Operation::UpdateResources => driver.update_resources(id, &ResourceLimits::default()).await,
        Operation::SnapshotContainer => driver
            .snapshot_container(id, "conformance/none:latest")
            .await
            .map(drop),
        other => Err(DriverError::internal(format!(
            "{other} takes no id of a container"
        ))),
    }
}

async fn unknown_id(cx: Context, operation: Operation) -> CaseResult {
    let id = "ab".repeat(32);
    let error = expect::permanent(call(cx.driver(), operation, &id).await, "CONTAINER_NOT_FOUND")?;
    expect::equal("message", error.to_string(), format!("Container {id} not found"))?;
    expect::equal("operation", error.operation(), Some(operation.name()))
}

async fn hostile_id(cx: Context, id: &'static str) -> CaseResult {
    absent(&cx, id).await?;
    for operation in [
        Operation::StartContainer,
        Operation::RemoveContainer,
        Operation::GetContainerLogs,
    ] {
        expect::permanent(call(cx.driver(), operation, id).await, "CONTAINER_NOT_FOUND")?;
    }
    Ok(())
}

async fn taken_name(cx: Context) -> std::result::Result<DriverError, CaseError> {
    let config = cx.config(["forever"]).name(cx.name("taken"));
    cx.create(&config).await?;
    error(cx.driver().create_container(&config).await)
}

async fn missing_program(cx: Context) -> std::result::Result<DriverError, CaseError> {
    let container = cx
        .create(&cx.config(["x"]).entrypoint(["/no/such/program"]))
        .await?;
    error(cx.driver().start_container(&container.id).await)
}

async fn remove_running(cx: Context) -> std::result::Result<DriverError, CaseError> {
    let container = cx.ready(["mark", "x"]).await?;
    error(
        cx.driver()
            .remove_container(&container.id, &RemoveOptions::default())
            .await,
    )
}

async fn too_much_memory(cx: Context) -> std::result::Result<DriverError, CaseError> {
    let mut config = cx.config(["x"]);
    // A pebibyte, in MiB.
    config.resources = config.resources.memory(1 << 30);
    error(cx.driver().create_container(&config).await)
}

async fn missing_image(cx: Context) -> std::result::Result<DriverError, CaseError> {
    let mut config = cx.config(["x"]);
    config.image = cx.image_name("missing");
    error(cx.driver().create_container(&config).await)
}

async fn paused_created(cx: Context) -> std::result::Result<DriverError, CaseError> {
    let container = cx.create(&cx.config(["x"])).await?;
    error(cx.driver().pause_container(&container.id).await)
}

/// The error has its parts, its message form and its retry flag, and survives the wire.
fn wire_form(code: &str, error: DriverError) -> CaseResult {
    expect::equal("code", error.code(), code)?;
    expect::that(
        "an error that is not retryable: its cause is permanent",
        !error.is_retryable(),
        &error,
    )?;
    expect::that(
        "the operation",
        error
            .operation()
            .is_some_and(|name| Operation::from_name(name).is_some()),
        &error,
    )?;
    expect::that("the driver", error.driver().is_some(), &error)?;
    let wire = expect::some("a wire form", serde_json::to_value(&error).ok())?;
    expect::equal("code on the wire", &wire["code"], code)?;
    expect::equal(
        "message on the wire",
        &wire["message"],
        error.to_string().as_str(),
    )?;
    expect::equal("retryable on the wire", &wire["retryable"], error.is_retryable())?;
    let form = error.kind().info().template.split('{').next().unwrap_or_default();
    expect::that(
        format!("a message that begins with {form:?}"),
        error.to_string().starts_with(form),
        &error,
    )?;
    let read: DriverError = expect::some("a readable wire form", serde_json::from_value(wire).ok())?;
    expect::equal("the error read back", read, error)
}

async fn limits_print_without_decimals(cx: Context) -> CaseResult {
    let error = too_much_memory(cx).await?;
    let ErrorKind::ResourceLimit {
        resource,
        limit,
        requested,
    } = error.kind()
    else {
        return expect::that("RESOURCE_LIMIT_EXCEEDED", false, &error);
    };
    expect::equal("resource", resource.as_str(), "memory")?;
    expect::equal("requested MiB", *requested, f64::from(1 << 30))?;
    expect::that("the limit in MiB", *limit > 0.0 && limit < requested, limit)?;
    let message = error.to_string();
    let form = format!(
        "Resource limit exceeded for memory: requested {}, limit {limit}",
        1 << 30
    );
    expect::equal("message", message, form)
}

fn short(operation: Operation) -> Deadlines {
    Deadlines::default().with(operation, Some(Duration::from_millis(100)))
}

async fn deadline_names_the_operation(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let driver = cx.open_with(short(Operation::WaitContainer)).await?;
    let error = expect::code(
        driver.wait_container(&container.id, WaitCondition::Exited).await,
        "TIMEOUT_ERROR",
    )?;
    expect::that("an error that is retryable", error.is_retryable(), &error)?;
    expect::equal(
        "message",
        error.to_string(),
        "Operation wait_container timed out after 100ms",
    )?;
    expect::equal("operation", error.operation(), Some("wait_container"))
}

async fn deadline_of_exec(cx: Context) -> CaseResult {
    let container = cx.ready(["mark", "x"]).await?;
    let driver = cx.open_with(short(Operation::Exec)).await?;
    let error = expect::code(
        driver.exec(&container.id, &cx.exec_spec(["forever"])).await,
        "TIMEOUT_ERROR",
    )?;
    expect::equal("operation", error.operation(), Some("exec"))
}

async fn deadline_harms_nothing(cx: Context) -> CaseResult {
    let container = cx.ready(["trap-exit", "TERM", "0"]).await?;
    let driver = cx.open_with(short(Operation::WaitContainer)).await?;
    for _ in 0..3 {
        expect::code(
            driver.wait_container(&container.id, WaitCondition::Exited).await,
            "TIMEOUT_ERROR",
        )?;
    }
    driver
        .stop_container(&container.id, &StopOptions::default())
        .await?;
    let exit = driver
        .wait_container(&container.id, WaitCondition::Exited)
        .await?;
    expect::equal("exit code", exit.exit_code, Some(0))
}

async fn env_stays_secret_in_errors(cx: Context) -> CaseResult {
    let secret = "hunter2-do-not-print";
    let config = cx
        .config(["x"])
        .entrypoint(["/no/such/program"])
        .env("TOKEN", secret)
        .name(cx.name("secret"));
    let container = cx.create(&config).await?;
    let failed = error(cx.driver().start_container(&container.id).await)?;
    let taken = error(cx.driver().create_container(&config).await)?;
    for error in [failed, taken] {
        let wire = serde_json::to_string(&error).unwrap_or_default();
        for text in [error.report(), format!("{error:?}"), wire] {
            expect::that(
                "an error without the value of the variable",
                !text.contains(secret),
                &text,
            )?;
        }
    }
    let shown = format!("{config:?} {container:?}");
    expect::that("debug output without the value", !shown.contains(secret), &shown)
}
