//! `create_container`: what it returns, and that the process gets exactly what the config says.

use driver_types::{Capability, ContainerState, ContainerStatus, ResourceLimits, SupportLevel};

use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

/// 2020 and 2100 in epoch milliseconds: seconds or microseconds would be outside.
const PLAUSIBLE_TIMES: std::ops::Range<u64> = 1_577_836_800_000..4_102_444_800_000;

pub(super) fn register(group: &mut Group) {
    group
        .case("returns_created", returns_created)
        .proves(&["2.table", "1.status.state"]);
    group
        .case("instance_echoes_the_config", instance_echoes_the_config)
        .needs(&[
            Capability::CpuLimit,
            Capability::MemoryLimit,
            Capability::PidsLimit,
        ])
        .proves(&["1.instance.fields"]);
    group
        .case("wire_form_is_camel_case", wire_form_is_camel_case)
        .proves(&["1.wire", "1.instance.fields"]);
    group
        .case("times_are_milliseconds", times_are_milliseconds)
        .proves(&["1.instance.times"]);
    group
        .case("chosen_names_differ", chosen_names_differ)
        .proves(&["1.config.name"]);
    group
        .case("taken_name", taken_name)
        .proves(&["3.create.name", "1.config.name"]);
    group
        .case("name_is_free_after_remove", name_is_free_after_remove)
        .proves(&["1.config.name"]);
    group
        .case("endpoint_without_ports", endpoint_without_ports)
        .proves(&["1.instance.endpoint"]);
    group
        .case("enforcement_is_reported", enforcement_is_reported)
        .proves(&["1.enforcement", "1.config.resources"]);
    group
        .case("defaults_of_resources", defaults_of_resources)
        .proves(&["1.resources.defaults"]);
    group
        .case("image_defaults", image_defaults)
        .proves(&["1.config.argv"]);
    group
        .case("command_replaces", command_replaces)
        .proves(&["1.config.argv"]);
    group
        .case("entrypoint_replaces", entrypoint_replaces)
        .proves(&["1.config.argv"]);
    group
        .case(
            "entrypoint_drops_the_image_command",
            entrypoint_drops_the_image_command,
        )
        .proves(&["1.config.argv"]);
    group
        .case("program_on_path", program_on_path)
        .proves(&["1.config.argv"]);
    group
        .case("arguments_are_exact", arguments_are_exact)
        .proves(&["1.config.argv"]);
    group
        .case("env_is_merged", env_is_merged)
        .proves(&["1.config.env"]);
    group
        .case("env_values_are_exact", env_values_are_exact)
        .proves(&["1.config.env"]);
    group
        .case("working_dir_is_set", working_dir_is_set)
        .proves(&["1.config.workingDir"]);
    group
        .case("working_dir_of_the_image", working_dir_of_the_image)
        .proves(&["1.config.workingDir"]);
    group
        .case("nothing_runs_yet", nothing_runs_yet)
        .proves(&["2.table"]);
}

async fn returns_created(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    expect::equal("status", container.status, ContainerStatus::Created)?;
    expect::equal("state", container.state, ContainerState::Terminated)?;
    let found = cx.get(&container.id).await?;
    expect::equal("get_container", found, container)
}

async fn instance_echoes_the_config(cx: Context) -> CaseResult {
    let limits = ResourceLimits::default().cpu(0.25).memory(64).pids(32);
    let config = cx
        .config(["forever"])
        .name(cx.name("echo"))
        .label("purpose", "echo")
        .resources(limits);
    let container = cx.create(&config).await?;
    expect::that("an id", !container.id.is_empty(), &container.id)?;
    expect::equal("name", &container.name, &cx.name("echo"))?;
    expect::equal("sessionId", &container.session_id, &config.session_id)?;
    expect::equal("image", &container.image, &config.image)?;
    expect::equal("labels", &container.labels, &config.labels)?;
    expect::equal("resources", container.resources, limits)?;
    expect::equal("driver", container.driver.as_str(), cx.driver().name())?;
    expect::equal("restarts", container.restarts, 0)?;
    expect::equal("startedAt", container.started_at, None)?;
    expect::equal("finishedAt", container.finished_at, None)?;
    expect::equal("exit", container.exit, None)?;
    expect::that("no ports", container.ports.is_empty(), &container.ports)?;
    expect::that(
        "no addresses",
        container.addresses.is_empty(),
        &container.addresses,
    )
}

async fn wire_form_is_camel_case(cx: Context) -> CaseResult {
    let container = cx.run(&cx.config(["forever"])).await?;
    let wire = serde_json::to_value(&container).unwrap_or_default();
    for field in [
        "id",
        "name",
        "sessionId",
        "image",
        "status",
        "state",
        "endpoint",
        "createdAt",
        "startedAt",
        "ports",
        "addresses",
        "labels",
        "resources",
        "enforcement",
        "driver",
        "restarts",
    ] {
        expect::that(format!("a field {field}"), wire.get(field).is_some(), &wire)?;
    }
    expect::equal("status on the wire", &wire["status"], "running")?;
    let read: driver_types::ContainerInstance =
        expect::some("a readable wire form", serde_json::from_value(wire).ok())?;
    expect::equal("the instance read back", read, container)
}

async fn times_are_milliseconds(cx: Context) -> CaseResult {
    let container = cx.finish(&cx.config(["out", "x"])).await?.container;
    let times = [
        Some(container.created_at),
        container.started_at,
        container.finished_at,
    ];
    for time in times {
        let time = expect::some("createdAt, startedAt and finishedAt", time)?;
        expect::that(
            "a time in epoch milliseconds",
            PLAUSIBLE_TIMES.contains(&time),
            time,
        )?;
    }
    expect::that("created <= started <= finished", times.is_sorted(), times)
}

async fn chosen_names_differ(cx: Context) -> CaseResult {
    let first = cx.create(&cx.config(["forever"])).await?;
    let second = cx.create(&cx.config(["forever"])).await?;
    expect::that("a name", first.name.len() >= 2, &first.name)?;
    expect::differs("name", &first.name, &second.name)?;
    expect::differs("id", &first.id, &second.id)
}

async fn taken_name(cx: Context) -> CaseResult {
    let config = cx.config(["forever"]).name(cx.name("taken"));
    let first = cx.create(&config).await?;
    let error = expect::permanent(
        cx.driver().create_container(&config).await,
        "CONTAINER_CREATION_FAILED",
    )?;
    expect::contains("a message", &error.to_string(), &cx.name("taken"))?;
    let found = cx.get(&first.id).await?;
    expect::equal("the first container", found, first)
}

async fn name_is_free_after_remove(cx: Context) -> CaseResult {
    let config = cx.config(["forever"]).name(cx.name("again"));
    let first = cx.create(&config).await?;
    cx.driver()
        .remove_container(&first.id, &Default::default())
        .await?;
    let second = cx.create(&config).await?;
    expect::equal("name", &second.name, &first.name)?;
    expect::differs("id", &second.id, &first.id)
}

async fn endpoint_without_ports(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    let expected = format!("{}://{}", cx.driver().name(), container.id);
    expect::equal("endpoint", container.endpoint, expected)
}

async fn enforcement_is_reported(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    let held = container.enforcement;
    for (limit, support) in [
        ("cpu", held.cpu),
        ("memory", held.memory),
        ("disk", held.disk),
        ("pids", held.pids),
    ] {
        let explained = support.level == SupportLevel::Native || support.reason.is_some();
        expect::that(format!("native {limit}, or a reason why not"), explained, support)?;
    }
    Ok(())
}

async fn defaults_of_resources(cx: Context) -> CaseResult {
    let limits = cx.create(&cx.config(["forever"])).await?.resources;
    expect::equal(
        "cpu, memory, disk, pids",
        (limits.cpu, limits.memory, limits.disk, limits.pids),
        (0.5, 512, 1024, 100),
    )
}

async fn image_defaults(cx: Context) -> CaseResult {
    if cx.image_is_supplied() {
        return expect::skip("the factory supplies an image without defaults");
    }
    let mut config = cx.config(["replaced"]);
    (config.entrypoint, config.command) = (None, None);
    cx.finish(&config).await?.output.expect_line("default command")
}

async fn command_replaces(cx: Context) -> CaseResult {
    if cx.image_is_supplied() {
        return expect::skip("the factory supplies an image without defaults");
    }
    let mut config = cx.config(["out", "mine"]);
    config.entrypoint = None;
    expect::equal("output", cx.finish(&config).await?.output.text(), "mine\n")
}

async fn entrypoint_replaces(cx: Context) -> CaseResult {
    let argv = cx.argv(["out", "from the entrypoint"]);
    let config = cx
        .config(["replaced"])
        .entrypoint(argv)
        .command(Vec::<String>::new());
    expect::equal(
        "output",
        cx.finish(&config).await?.output.text(),
        "from the entrypoint\n",
    )
}

async fn entrypoint_drops_the_image_command(cx: Context) -> CaseResult {
    if cx.image_is_supplied() {
        return expect::skip("the factory supplies an image without defaults");
    }
    // As in Docker and Kubernetes: the image's command was meant for the image's entrypoint.
    let mut config = cx.config(["replaced"]).entrypoint(cx.argv(["args"]));
    config.command = None;
    let output = cx.finish(&config).await?.output;
    expect::equal(
        "arguments",
        output.values("arg").collect::<Vec<_>>(),
        Vec::<&str>::new(),
    )
}

async fn program_on_path(cx: Context) -> CaseResult {
    if cx.image_is_supplied() {
        return expect::skip("the factory supplies the image");
    }
    let config = cx.config(["argv0"]).entrypoint(["workload"]);
    cx.finish(&config).await?.output.expect("argv0", "workload")
}

async fn arguments_are_exact(cx: Context) -> CaseResult {
    let hostile = [
        "a b",
        "",
        "$HOME",
        "`id`",
        "'\"\\",
        "; exit 1",
        "*",
        "--flag=x",
        "zwölf",
        "line\nbreak",
        "%s",
    ];
    let escaped = [
        "a b",
        "",
        "$HOME",
        "`id`",
        "'\"\\\\",
        "; exit 1",
        "*",
        "--flag=x",
        "zw\\xc3\\xb6lf",
        "line\\nbreak",
        "%s",
    ];
    let output = cx.output([&["args"][..], &hostile].concat()).await?;
    expect::equal("arguments", output.number("args")?, hostile.len() as u64)?;
    let found: Vec<_> = output.values("arg").collect();
    expect::equal("arguments", found, escaped.to_vec())
}

async fn env_is_merged(cx: Context) -> CaseResult {
    if cx.image_is_supplied() {
        return expect::skip("the factory supplies an image without environment");
    }
    let commands = ["env", "MINE", ",", "env", "IMAGE_ENV", ",", "env", "PATH"];
    let output = cx
        .finish(&cx.config(commands).env("MINE", "yes").env("PATH", "/other"))
        .await?
        .output;
    let found: Vec<_> = output.values("env").collect();
    expect::equal("variables", found, vec!["yes", "from the image", "/other"])
}

async fn env_values_are_exact(cx: Context) -> CaseResult {
    let commands = ["env", "EMPTY", ",", "env", "HARD"];
    let config = cx
        .config(commands)
        .env("EMPTY", "")
        .env("HARD", "a=b c\t\"'$X\nzwölf");
    let output = cx.finish(&config).await?.output;
    let found: Vec<_> = output.values("env").collect();
    expect::equal("variables", found, vec!["", "a=b c\\t\"'$X\\nzw\\xc3\\xb6lf"])
}

async fn working_dir_is_set(cx: Context) -> CaseResult {
    let output = cx.finish(&cx.config(["cwd"]).working_dir("/tmp")).await?.output;
    output.expect("cwd", "/tmp")
}

async fn working_dir_of_the_image(cx: Context) -> CaseResult {
    if cx.image_is_supplied() {
        return expect::skip("the factory supplies an image without a working directory");
    }
    cx.output(["cwd"]).await?.expect("cwd", "/work")
}

async fn nothing_runs_yet(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["out", "too early"])).await?;
    expect::equal("log", cx.log(&container.id).await?, "")?;
    expect::equal(
        "is_container_healthy",
        cx.driver().is_container_healthy(&container.id).await?,
        false,
    )?;
    expect::equal(
        "status",
        cx.get(&container.id).await?.status,
        ContainerStatus::Created,
    )
}
