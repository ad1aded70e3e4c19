//! Networks: what their members see.

use driver_types::{Capability, ContainerConfig, ContainerInstance, Network, NetworkConfig, StopOptions};

use super::networks::{NETWORKS, address, make};
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::context::until;
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("unknown_network_in_a_config", unknown_in_config)
        .needs(NETWORKS)
        .proves(&["1.config.network", "3.create.atomic"]);
    group
        .case("members_reach_each_other_by_name", members)
        .needs(INSIDE)
        .proves(MEMBERS);
    group
        .case("members_of_another_do_not_reach_it", isolation)
        .needs(INSIDE)
        .proves(MEMBERS);
    group
        .case("members_of_an_internal_one_reach_each_other", internal)
        .needs(INSIDE)
        .proves(MEMBERS);
    group
        .case("addresses_are_told_while_it_runs", addresses)
        .needs(NETWORKS)
        .proves(&["1.instance.fields"]);
    group
        .case("default_has_an_address", default_network)
        .needs(&[Capability::NetworkDefault])
        .proves(&["1.config.network.default"]);
    group
        .case("host_shares_the_hosts", host_network)
        .needs(&[Capability::NetworkHost])
        .proves(&["1.config.network", "7.namespaces"]);
    group
        .case("hostname", hostname)
        .needs(&[Capability::Hostname])
        .proves(&["1.config.hosts"]);
    group
        .case("extra_hosts", extra_hosts)
        .needs(&[Capability::ExtraHosts, Capability::NetworkDefault])
        .proves(&["1.config.hosts"]);
    group
        .case("dns", dns)
        .needs(&[Capability::Dns, Capability::NetworkHost])
        .proves(&["1.config.hosts"]);
}

const INSIDE: &[Capability] = &[Capability::Networks, Capability::Exec];

const MEMBERS: &[&str] = &["1.config.network", "7.namespaces"];

async fn unknown_in_config(cx: Context) -> CaseResult {
    let name = cx.name("unknown");
    match cx
        .driver()
        .create_container(&cx.config(["forever"]).network(&name))
        .await
    {
        Err(error) => {
            let codes = ["NETWORK_NOT_FOUND", "CONFIGURATION_ERROR"];
            expect::that(
                format!("one of {codes:?}, permanent"),
                codes.contains(&error.code()) && !error.is_retryable(),
                &error,
            )?;
            expect::contains("a message", &error.to_string(), &name)
        }
        Ok(container) => expect::that("a refusal", false, container),
    }
}

/// A running container that sends back what it gets at TCP port 7000.
async fn server(cx: &Context, network: &Network) -> Result<ContainerInstance, CaseError> {
    let config = cx.config(["tcp-listen", "7000", ",", "out", "listening", ",", "forever"]);
    let container = cx
        .run(&config.network(&network.name).name(cx.name("server")))
        .await?;
    cx.await_line(&container.id, "listening").await?;
    Ok(container)
}

/// Waits until the server answers a client.
async fn reaches(cx: &Context, client: &str, host: &str) -> CaseResult {
    until(&format!("an answer from {host}"), || async {
        let output = cx
            .exec_lines(client, ["tcp-connect", host, "7000", "hello"])
            .await?;
        Ok(output.has("tcp-connect=hello").then_some(()))
    })
    .await
}

async fn members(cx: Context) -> CaseResult {
    let network = make(&cx, "n").await?;
    let server = server(&cx, &network).await?;
    let client = cx.run(&cx.config(["forever"]).network(&network.name)).await?.id;
    reaches(&cx, &client, &server.name).await?;
    reaches(&cx, &client, address(&server)?).await
}

/// The neighbour's answer proves that the server is there while the stranger does not reach it.
async fn isolation(cx: Context) -> CaseResult {
    let (network, other) = (make(&cx, "n").await?, make(&cx, "other").await?);
    let server = server(&cx, &network).await?;
    let neighbour = cx.run(&cx.config(["forever"]).network(&network.name)).await?.id;
    let stranger = cx.run(&cx.config(["forever"]).network(&other.name)).await?.id;
    reaches(&cx, &neighbour, address(&server)?).await?;
    let by_address = cx
        .exec_lines(&stranger, ["tcp-connect", address(&server)?, "7000", "hello"])
        .await?;
    expect::that(
        "no answer by address",
        by_address.errno("tcp-connect").is_some(),
        by_address.text(),
    )?;
    let by_name = cx.exec_lines(&stranger, ["resolve", &server.name]).await?;
    expect::that(
        "no address of the name",
        by_name.errno("resolve").is_some(),
        by_name.text(),
    )
}

async fn internal(cx: Context) -> CaseResult {
    let network = cx
        .driver()
        .create_network(&NetworkConfig::new(cx.name("n")).internal(true))
        .await?;
    expect::that("internal", network.internal, &network)?;
    let server = server(&cx, &network).await?;
    let client = cx.run(&cx.config(["forever"]).network(&network.name)).await?.id;
    reaches(&cx, &client, &server.name).await?;
    let out = cx
        .exec_lines(&client, ["tcp-connect", "192.0.2.1", "80", "x"])
        .await?;
    expect::that("no way out", out.errno("tcp-connect").is_some(), out.text())
}

async fn addresses(cx: Context) -> CaseResult {
    let network = make(&cx, "n").await?;
    let config = cx
        .config(["addresses", ",", "out", "ready", ",", "forever"])
        .network(&network.name);
    let created = cx.create(&config).await?;
    expect::equal(
        "addresses of a created container",
        &created.addresses,
        &Vec::new(),
    )?;
    cx.driver().start_container(&created.id).await?;
    let running = cx.get(&created.id).await?;
    let told: Vec<_> = running
        .addresses
        .iter()
        .map(|address| address.network.as_str())
        .collect();
    expect::equal(
        "networks of a running container",
        told,
        vec![network.name.as_str()],
    )?;
    cx.await_line(&created.id, "ready").await?;
    let inside = cx.lines(&created.id).await?;
    let ip = address(&running)?;
    expect::that(
        format!("{ip} inside"),
        inside.value("addresses")?.split(',').any(|found| found == ip),
        inside.text(),
    )?;
    cx.driver()
        .stop_container(&created.id, &StopOptions::force())
        .await?;
    expect::equal(
        "addresses of a stopped container",
        cx.get(&created.id).await?.addresses,
        Vec::new(),
    )
}

async fn default_network(cx: Context) -> CaseResult {
    let config = cx.config(["interfaces", ",", "out", "ready", ",", "forever"]);
    let container = cx.run(&config.network(ContainerConfig::NETWORK_DEFAULT)).await?;
    cx.await_line(&container.id, "ready").await?;
    let output = cx.lines(&container.id).await?;
    expect::that(
        "an interface beside loopback",
        output.value("interfaces")? != "lo",
        output.text(),
    )?;
    address(&container).map(drop)
}

/// Two containers on `host` are in one network namespace; the one on `none` is in another.
async fn host_network(cx: Context) -> CaseResult {
    let mut seen = Vec::new();
    for network in ["host", "host", "none"] {
        let output = cx
            .finish(&cx.config(["readlink", "/proc/self/ns/net"]).network(network))
            .await?
            .output;
        seen.push(output.value("readlink")?.to_owned());
    }
    expect::equal("network namespace of the second on host", &seen[1], &seen[0])?;
    expect::differs("network namespace on none", &seen[2], &seen[0])
}

async fn hostname(cx: Context) -> CaseResult {
    let output = cx
        .finish(&cx.config(["hostname"]).hostname("chosen-name"))
        .await?
        .output;
    output.expect("hostname", "chosen-name")
}

async fn extra_hosts(cx: Context) -> CaseResult {
    let config = cx
        .config(["resolve", "build.example"])
        .network(ContainerConfig::NETWORK_DEFAULT);
    let output = cx
        .finish(&config.extra_host("build.example", "198.51.100.7"))
        .await?
        .output;
    output.expect("resolve", "198.51.100.7")
}

/// On `host`: elsewhere an engine may put a resolver of its own between.
async fn dns(cx: Context) -> CaseResult {
    let config = cx
        .config(["read", "/etc/resolv.conf"])
        .network(ContainerConfig::NETWORK_HOST);
    let output = cx.finish(&config.dns("198.51.100.53")).await?.output;
    expect::contains("resolv.conf", output.value("read")?, "nameserver 198.51.100.53")
}
