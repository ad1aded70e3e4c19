//! What is declared works; what is not is refused with a typed error and without a side effect.

use driver_types::{
    Capability, ContainerConfig, ContainerDriver, ContainerFilter, ErrorKind, HealthCheckConfig,
    ImportOptions, NetworkConfig, Operation, PortMapping, PullPolicy, PullRequest, ReapPolicy,
    ResourceLimits, Result, SecurityOptions, Signal, Support, SupportLevel, VolumeConfig, VolumeMount,
};
use futures_util::stream;

use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

const BOTH: &[&str] = &["5.declared", "5.undeclared"];

const FIELD: &[&str] = &["5.declared", "5.config"];

pub(super) fn register(group: &mut Group) {
    group
        .case("answer_is_the_same_for_life", same_for_life)
        .proves(&["5.declared"]);
    group
        .case("reason_for_what_is_not_native", reasons)
        .proves(&["5.reason"]);
    group
        .case("default_config_is_accepted", default_config)
        .proves(&["5.config"]);
    for operation in Operation::ALL
        .iter()
        .copied()
        .filter(|operation| operation.info().capability.is_some())
    {
        let name = format!("operation_{}", operation.name());
        group
            .case(name, move |cx| operation_as_declared(cx, operation))
            .proves(BOTH);
    }
    for field in FIELDS {
        let name = format!("field_of_{}", snake_case(field.capability.name()));
        group
            .case(name, move |cx| field_as_declared(cx, field))
            .proves(FIELD);
    }
    group
        .case("missing_capability_refuses_the_field", missing_field)
        .proves(&["5.config", "5.undeclared"]);
    group
        .case("pull_policy_without_pulls", pull_policy)
        .needs_missing(Capability::PullImage)
        .proves(&["5.config"]);
    super::capabilities_plan::register(group);
}

fn snake_case(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            c.is_uppercase()
                .then_some('_')
                .into_iter()
                .chain(c.to_lowercase())
        })
        .collect()
}

async fn same_for_life(cx: Context) -> CaseResult {
    let first = cx.driver().capabilities().await?;
    expect::equal(
        "the second answer",
        cx.driver().capabilities().await?,
        first.clone(),
    )?;
    expect::equal(
        "the answer of a driver opened again",
        cx.open_again().await?.capabilities().await?,
        first,
    )
}

async fn reasons(cx: Context) -> CaseResult {
    let silent = |support: &Support| {
        support.level != SupportLevel::Native && support.reason.as_ref().is_none_or(String::is_empty)
    };
    let bare: Vec<_> = cx
        .capabilities()
        .iter()
        .filter(|(_, support)| silent(support))
        .collect();
    expect::that("a reason for each that is not native", bare.is_empty(), bare)
}

/// Whatever is missing, the config without a wish of its own is fine.
async fn default_config(cx: Context) -> CaseResult {
    cx.create(&cx.config(NOTHING)).await.map(drop)
}

/// Calls an operation with what exists nowhere.
async fn call(cx: &Context, driver: &dyn ContainerDriver, operation: Operation) -> Result<()> {
    let name = cx.name("unknown");
    let id = name.as_str();
    match operation {
        Operation::WaitContainer => driver.wait_container(id, Default::default()).await.map(drop),
        Operation::SignalContainer => driver.signal_container(id, Signal::TERM).await,
        Operation::PauseContainer => driver.pause_container(id).await,
        Operation::ResumeContainer => driver.resume_container(id).await,
        Operation::Exec => driver.exec(id, &cx.exec_spec(["uid"])).await.map(drop),
        Operation::ExecStream => driver.exec_stream(id, &cx.exec_spec(["uid"])).await.map(drop),
        Operation::Attach => driver.attach(id).await.map(drop),
        Operation::StreamLogs => driver.stream_logs(id, &Default::default()).await.map(drop),
        Operation::ContainerStats => driver.container_stats(id).await.map(drop),
        Operation::StreamStats => driver.stream_stats(id, 1000).await.map(drop),
        Operation::Events => driver.events(&Default::default()).await.map(drop),
        Operation::CopyInto => driver.copy_into(id, "/tmp", Box::pin(stream::empty())).await,
        Operation::CopyFrom => driver.copy_from(id, "/tmp").await.map(drop),
        Operation::ListVolumes => driver.list_volumes().await.map(drop),
        Operation::GetVolume => driver.get_volume(id).await.map(drop),
        Operation::ListNetworks => driver.list_networks().await.map(drop),
        Operation::GetNetwork => driver.get_network(id).await.map(drop),
        Operation::PullImage => driver
            .pull_image(&PullRequest::new("not a reference"))
            .await
            .map(drop),
        Operation::ImportImage => driver
            .import_image(&ImportOptions::new("not a reference"), Box::pin(stream::empty()))
            .await
            .map(drop),
        Operation::ListImages => driver.list_images().await.map(drop),
        Operation::GetImage => driver.get_image(&cx.image_name("unknown")).await.map(drop),
        Operation::RemoveImage => driver.remove_image(&cx.image_name("unknown")).await,
        Operation::UpdateResources => driver.update_resources(id, &ResourceLimits::default()).await,
        Operation::SnapshotContainer => driver
            .snapshot_container(id, &cx.image_name("never"))
            .await
            .map(drop),
        Operation::Preflight => driver.preflight().await.map(drop),
        Operation::Plan => driver.plan(&cx.config(NOTHING)).await.map(drop),
        Operation::Recover => driver.recover().await.map(drop),
        Operation::Reap => driver
            .reap(&ReapPolicy {
                dry_run: true,
                ..ReapPolicy::default()
            })
            .await
            .map(drop),
        Operation::Shutdown => driver.shutdown(Default::default()).await,
        _ => Ok(()),
    }
}

/// Whether the operation is about one container, whose id is looked up before anything else.
fn takes_a_container(operation: Operation) -> bool {
    let name = operation.name();
    name.contains("container")
        || matches!(
            name,
            "exec" | "exec_stream" | "attach" | "stream_logs" | "copy_into" | "copy_from"
        )
}

/// A driver of its own: one of the operations ends it.
async fn operation_as_declared(cx: Context, operation: Operation) -> CaseResult {
    let driver = cx.open_other_owner("declared").await?;
    let called = call(&cx, driver.as_ref(), operation).await;
    let declared = operation
        .info()
        .capability
        .is_none_or(|capability| cx.supports(capability));
    if declared && takes_a_container(operation) {
        expect::permanent(called, "CONTAINER_NOT_FOUND").map(drop)
    } else if declared {
        let supported = called
            .as_ref()
            .err()
            .is_none_or(|error| error.code() != "UNSUPPORTED_OPERATION");
        expect::that("an operation that is supported", supported, called)
    } else {
        let error = expect::permanent(called, "UNSUPPORTED_OPERATION")?;
        let wanted = ErrorKind::Unsupported {
            operation: operation.name().to_owned(),
            driver: cx.driver().name().to_owned(),
        };
        expect::equal("payload", error.kind(), &wanted)?;
        let left = driver.list_containers(&ContainerFilter::default()).await?;
        expect::that("no side effect", left.is_empty(), left)
    }
}

/// A wish of a config that needs a capability.
#[derive(Clone, Copy)]
pub(super) struct Field {
    capability: Capability,
    /// Where the refusal points, or below.
    pub(super) pointer: &'static str,
    pub(super) wish: fn(&Context, ContainerConfig) -> ContainerConfig,
}

const fn field(
    capability: Capability,
    pointer: &'static str,
    wish: fn(&Context, ContainerConfig) -> ContainerConfig,
) -> Field {
    Field {
        capability,
        pointer,
        wish,
    }
}

const FIELDS: [Field; 15] = [
    field(Capability::Attach, "/stdin", |_, config| config.stdin(true)),
    field(Capability::Tty, "/tty", |_, config| config.tty(true)),
    field(Capability::Volumes, "/volumes", |cx, config| {
        config.volume(VolumeMount::new(cx.name("v"), "/data"))
    }),
    field(Capability::BindMounts, "/volumes", |_, config| {
        config.volume(VolumeMount::new("/usr", "/data").read_only(true))
    }),
    field(Capability::Tmpfs, "/tmpfs", |_, config| {
        config.tmpfs("/scratch", 8)
    }),
    field(Capability::Networks, "/network", |cx, config| {
        config.network(cx.name("n"))
    }),
    field(Capability::NetworkDefault, "/network", |_, config| {
        config.network(ContainerConfig::NETWORK_DEFAULT)
    }),
    field(Capability::NetworkHost, "/network", |_, config| {
        config.network(ContainerConfig::NETWORK_HOST)
    }),
    // Ports are published on a network only; a driver that has none refuses both fields.
    field(Capability::PortsTcp, "/ports", |_, config| {
        config
            .network(ContainerConfig::NETWORK_DEFAULT)
            .port(PortMapping::tcp(7000))
    }),
    field(Capability::PortsUdp, "/ports", |_, config| {
        config
            .network(ContainerConfig::NETWORK_DEFAULT)
            .port(PortMapping::udp(7000))
    }),
    field(Capability::Hostname, "/hostname", |_, config| {
        config.hostname("chosen-name")
    }),
    field(Capability::Dns, "/dns", |cx, config| {
        networked(cx, config).dns("198.51.100.53")
    }),
    field(Capability::ExtraHosts, "/extraHosts", |cx, config| {
        networked(cx, config).extra_host("a.example", "198.51.100.7")
    }),
    field(Capability::HealthCheck, "/healthcheck", |cx, config| {
        config.healthcheck(HealthCheckConfig::command(cx.argv(["exit", "0"])))
    }),
    field(
        Capability::LinuxCapabilities,
        "/security/capabilities",
        |_, config| config.security(SecurityOptions::default().add_capability("NET_BIND_SERVICE")),
    ),
];

/// On a network, where there is one: some wishes make no sense without.
fn networked(cx: &Context, config: ContainerConfig) -> ContainerConfig {
    if cx.supports(Capability::NetworkDefault) {
        config.network(ContainerConfig::NETWORK_DEFAULT)
    } else {
        config
    }
}

/// Makes what the wish of a config is about.
async fn prepare(cx: &Context, capability: Capability) -> std::result::Result<(), CaseError> {
    match capability {
        Capability::Volumes => cx
            .driver()
            .create_volume(&VolumeConfig::new(cx.name("v")))
            .await
            .map(drop)?,
        Capability::Networks => cx
            .driver()
            .create_network(&NetworkConfig::new(cx.name("n")))
            .await
            .map(drop)?,
        _ => {}
    }
    Ok(())
}

/// The create is refused at the field, and nothing was made.
async fn refused(cx: &Context, field: Field) -> CaseResult {
    let config = (field.wish)(cx, cx.config(NOTHING));
    let error = expect::permanent(cx.driver().create_container(&config).await, "CONFIGURATION_ERROR")?;
    let named = error
        .violation_list()
        .iter()
        .any(|violation| violation.pointer.starts_with(field.pointer));
    expect::that(format!("a violation at {}", field.pointer), named, &error)?;
    let left = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::that("no side effect", left.is_empty(), left)
}

async fn field_as_declared(cx: Context, field: Field) -> CaseResult {
    prepare(&cx, field.capability).await?;
    if !cx.supports(field.capability) {
        return refused(&cx, field).await;
    }
    cx.create(&(field.wish)(&cx, cx.config(NOTHING))).await.map(drop)
}

/// The fields whose capability this driver does not declare.
pub(super) fn missing(cx: &Context) -> Vec<Field> {
    FIELDS
        .into_iter()
        .filter(|field| !cx.supports(field.capability))
        .collect()
}

async fn missing_field(cx: Context) -> CaseResult {
    let missing = missing(&cx);
    if missing.is_empty() {
        return expect::skip("every capability that a field of a config needs is declared");
    }
    for field in missing {
        refused(&cx, field).await?;
    }
    Ok(())
}

async fn pull_policy(cx: Context) -> CaseResult {
    let config = cx.config(NOTHING).pull_policy(PullPolicy::Always);
    expect::violation(cx.driver().create_container(&config).await, "/pullPolicy").map(drop)
}
