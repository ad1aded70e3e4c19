//! Published ports.

use std::net::SocketAddr;

use driver_types::{
    Capability, ContainerConfig, ContainerInstance, ContainerStatus, PortMapping, PortProtocol,
    PublishedPort, RemoveOptions, StopOptions,
};

use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::context::until;
use crate::expect;

const TCP: &[Capability] = &[Capability::PortsTcp, Capability::NetworkDefault];
const UDP: &[Capability] = &[Capability::PortsUdp, Capability::NetworkDefault];
const RULE: &[&str] = &["1.config.ports"];

pub(super) fn register(group: &mut Group) {
    group
        .case("tcp_is_reached_from_the_host", tcp)
        .needs(TCP)
        .proves(RULE);
    group
        .case("udp_is_reached_from_the_host", udp)
        .needs(UDP)
        .proves(RULE);
    group
        .case("tcp_and_udp_of_one_port", both_protocols)
        .needs(TCP)
        .needs(UDP)
        .proves(RULE);
    group
        .case("taken_udp_port_fails_the_start", taken_udp_port)
        .needs(UDP)
        .proves(&["3.start.reason", "3.start.failed"]);
    group
        .case("engine_chooses_and_tells", engine_chooses)
        .needs(TCP)
        .proves(RULE);
    group
        .case("host_port_0_is_chosen_by_the_engine", port_zero)
        .needs(TCP)
        .proves(RULE);
    group
        .case("chosen_port_is_kept", chosen_port)
        .needs(TCP)
        .proves(RULE);
    group
        .case("host_address_is_local_by_default", local_by_default)
        .needs(TCP)
        .proves(RULE);
    group
        .case("endpoint_is_the_first_port", endpoint)
        .needs(TCP)
        .proves(&["1.instance.endpoint"]);
    group.case("several_ports", several).needs(TCP).proves(RULE);
    group
        .case("two_containers_get_two_ports", two_containers)
        .needs(TCP)
        .proves(RULE);
    group
        .case("taken_port_fails_the_start", taken_port)
        .needs(TCP)
        .proves(&["3.start.reason", "3.start.failed"]);
    group
        .case("none_unless_it_runs", none_unless_it_runs)
        .needs(TCP)
        .proves(&["1.instance.fields"]);
    group
        .case("same_port_inside_twice", same_port_inside)
        .needs(TCP)
        .proves(RULE);
    group
        .case("endpoint_without_ports", endpoint_without_ports)
        .proves(&["1.instance.endpoint"]);
}

/// A config that sends back what comes to port 7000.
fn echo(cx: &Context, protocol: PortProtocol) -> ContainerConfig {
    servers(cx, &[(protocol, "7000")])
}

/// Servers of these protocols at these ports, which say when they listen.
fn servers(cx: &Context, at: &[(PortProtocol, &str)]) -> ContainerConfig {
    let listen = |(protocol, port): &(PortProtocol, &str)| {
        [format!("{protocol}-listen"), (*port).to_owned(), ",".to_owned()]
    };
    let rest = ["out", "listening", ",", "forever"].map(str::to_owned);
    cx.config(at.iter().flat_map(listen).chain(rest))
        .network(ContainerConfig::NETWORK_DEFAULT)
}

/// A server with this port published, once it listens.
async fn serve(cx: &Context, port: PortMapping) -> Result<ContainerInstance, CaseError> {
    let container = cx.run(&echo(cx, port.effective_protocol()).port(port)).await?;
    cx.await_line(&container.id, "listening").await?;
    Ok(container)
}

#[track_caller]
fn only_port(container: &ContainerInstance) -> Result<&PublishedPort, CaseError> {
    match container.ports.as_slice() {
        [port] => Ok(port),
        other => Err(Failure::new("one published port", format!("{other:?}")).into()),
    }
}

/// The server behind a published port answers.
async fn answers(cx: &Context, port: &PublishedPort) -> CaseResult {
    let ip = port.host_ip.parse();
    let ip = ip.map_err(|error| Failure::new("an IP address", format!("{}: {error}", port.host_ip)))?;
    let address = SocketAddr::new(ip, port.host_port);
    until(&format!("an answer from {port}"), || async {
        let reply = cx.factory().dial(port.protocol, address, b"ping").await;
        Ok(reply.is_ok_and(|reply| reply == b"ping").then_some(()))
    })
    .await
}

async fn tcp(cx: Context) -> CaseResult {
    let container = serve(&cx, PortMapping::tcp(7000)).await?;
    let port = only_port(&container)?;
    expect::equal(
        "port inside and protocol",
        (port.container_port, port.protocol),
        (7000, PortProtocol::Tcp),
    )?;
    answers(&cx, port).await
}

async fn udp(cx: Context) -> CaseResult {
    let container = serve(&cx, PortMapping::udp(7000)).await?;
    let port = only_port(&container)?;
    expect::equal(
        "port inside and protocol",
        (port.container_port, port.protocol),
        (7000, PortProtocol::Udp),
    )?;
    answers(&cx, port).await
}

async fn both_protocols(cx: Context) -> CaseResult {
    let config = servers(&cx, &[(PortProtocol::Tcp, "7000"), (PortProtocol::Udp, "7000")]);
    let config = config.port(PortMapping::udp(7000)).port(PortMapping::tcp(7000));
    let container = cx.run(&config).await?;
    cx.await_line(&container.id, "listening").await?;
    expect::equal("published ports", container.ports.len(), 2)?;
    for port in &container.ports {
        answers(&cx, port).await?;
    }
    Ok(())
}

async fn taken_udp_port(cx: Context) -> CaseResult {
    let first = serve(&cx, PortMapping::udp(7000)).await?;
    let taken = only_port(&first)?;
    let config = echo(&cx, PortProtocol::Udp).port(PortMapping::udp(7000).host_port(taken.host_port));
    let second = cx.create(&config).await?.id;
    expect::code(
        cx.driver().start_container(&second).await,
        "CONTAINER_START_FAILED",
    )?;
    // Who has it keeps it.
    answers(&cx, taken).await
}

async fn engine_chooses(cx: Context) -> CaseResult {
    let container = cx
        .run(&echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000)))
        .await?;
    let port = only_port(&container)?;
    expect::that("a port of the host", port.host_port > 0, port)?;
    expect::equal(
        "ports that a later look tells",
        cx.get(&container.id).await?.ports,
        container.ports,
    )
}

async fn port_zero(cx: Context) -> CaseResult {
    let container = serve(&cx, PortMapping::tcp(7000).host_port(0)).await?;
    let port = only_port(&container)?;
    expect::that("a port of the host", port.host_port > 0, port)?;
    answers(&cx, port).await
}

/// A port that the engine chose before is free now; should another take it first, the next try has another one.
async fn chosen_port(cx: Context) -> CaseResult {
    for _ in 0..5 {
        let first = cx
            .run(&echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000)))
            .await?;
        let wanted = only_port(&first)?.host_port;
        cx.driver()
            .remove_container(&first.id, &RemoveOptions::force())
            .await?;
        let config = echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000).host_port(wanted));
        let second = cx.create(&config).await?;
        match cx.driver().start_container(&second.id).await {
            Err(error) if error.code() == "CONTAINER_START_FAILED" => {}
            started => {
                started?;
                let second = cx.get(&second.id).await?;
                expect::equal("port of the host", only_port(&second)?.host_port, wanted)?;
                return answers(&cx, only_port(&second)?).await;
            }
        }
    }
    Err(Failure::new("a start with a port that was free", "five refusals").into())
}

async fn local_by_default(cx: Context) -> CaseResult {
    let container = cx
        .run(&echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000)))
        .await?;
    expect::equal(
        "address of the host",
        only_port(&container)?.host_ip.as_str(),
        PortMapping::DEFAULT_HOST_IP,
    )
}

async fn endpoint(cx: Context) -> CaseResult {
    let container = cx
        .run(&echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000)))
        .await?;
    let wanted = format!("tcp://127.0.0.1:{}", only_port(&container)?.host_port);
    expect::equal("endpoint", container.endpoint, wanted)
}

async fn several(cx: Context) -> CaseResult {
    let config = servers(&cx, &[(PortProtocol::Tcp, "7000"), (PortProtocol::Tcp, "7001")]);
    let container = cx
        .run(&config.port(PortMapping::tcp(7000)).port(PortMapping::tcp(7001)))
        .await?;
    cx.await_line(&container.id, "listening").await?;
    let inside: Vec<_> = container.ports.iter().map(|port| port.container_port).collect();
    expect::equal(
        "ports inside, in the order of the config",
        inside,
        [7000, 7001].to_vec(),
    )?;
    for port in &container.ports {
        answers(&cx, port).await?;
    }
    Ok(())
}

async fn two_containers(cx: Context) -> CaseResult {
    let config = echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000));
    let (one, two) = (cx.run(&config).await?, cx.run(&config).await?);
    expect::differs(
        "port of the host",
        only_port(&one)?.host_port,
        only_port(&two)?.host_port,
    )
}

async fn taken_port(cx: Context) -> CaseResult {
    let first = cx
        .run(&echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000)))
        .await?;
    let taken = only_port(&first)?.host_port;
    let config = echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000).host_port(taken));
    let second = cx.create(&config).await?.id;
    expect::code(
        cx.driver().start_container(&second).await,
        "CONTAINER_START_FAILED",
    )?;
    expect::equal(
        "status after a failed start",
        cx.get(&second).await?.status,
        ContainerStatus::Created,
    )?;
    cx.driver()
        .remove_container(&first.id, &RemoveOptions::force())
        .await?;
    until("a start once the port is free", || async {
        Ok(cx.driver().start_container(&second).await.is_ok().then_some(()))
    })
    .await
}

async fn none_unless_it_runs(cx: Context) -> CaseResult {
    let container = cx
        .create(&echo(&cx, PortProtocol::Tcp).port(PortMapping::tcp(7000)))
        .await?;
    expect::equal("ports of a created container", &container.ports, &Vec::new())?;
    cx.driver().start_container(&container.id).await?;
    let before = only_port(&cx.get(&container.id).await?)?.clone();
    cx.driver()
        .stop_container(&container.id, &StopOptions::force())
        .await?;
    expect::equal(
        "ports of a stopped container",
        cx.get(&container.id).await?.ports,
        Vec::new(),
    )?;
    let endpoint = format!("{}://{}", cx.driver().name(), container.id);
    expect::equal(
        format!("endpoint without {before}"),
        cx.get(&container.id).await?.endpoint,
        endpoint,
    )
}

/// Two ports of the host for one inside.
async fn same_port_inside(cx: Context) -> CaseResult {
    let config = echo(&cx, PortProtocol::Tcp)
        .port(PortMapping::tcp(7000))
        .port(PortMapping::tcp(7000).host_port(0));
    match cx.driver().create_container(&config).await {
        Err(error) => expect::equal("code of a refusal", error.code(), "CONFIGURATION_ERROR"),
        Ok(container) => {
            cx.driver().start_container(&container.id).await?;
            expect::equal("published ports", cx.get(&container.id).await?.ports.len(), 2)
        }
    }
}

async fn endpoint_without_ports(cx: Context) -> CaseResult {
    let container = cx.run(&cx.config(["forever"])).await?;
    expect::equal(
        "endpoint",
        container.endpoint,
        format!("{}://{}", cx.driver().name(), container.id),
    )
}
