//! Networks.

use driver_types::{Capability, ContainerConfig, ContainerInstance, Network, NetworkConfig, StopOptions};

use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::context::until;
use crate::expect;

const NETWORKS: &[Capability] = &[Capability::Networks];
const INSIDE: &[Capability] = &[Capability::Networks, Capability::Exec];
const READ: &[&str] = &["3.networks.read"];
const CREATE: &[&str] = &["3.networks.create"];
const MEMBERS: &[&str] = &["1.config.network", "7.namespaces"];

pub(super) fn register(group: &mut Group) {
    group.case("create_tells_what_was_made", create).proves(CREATE);
    group.case("create_same_again", create_same_again).proves(CREATE);
    group
        .case("create_with_another_spec", another_spec)
        .proves(CREATE);
    group.case("reserved_and_bad_names", bad_names).proves(CREATE);
    group
        .case("subnet", subnet)
        .needs(&[Capability::Networks, Capability::NetworkSubnet])
        .proves(CREATE);
    group
        .case("subnet_without_the_capability_is_refused", subnet_refused)
        .needs_missing(Capability::NetworkSubnet)
        .proves(&["5.undeclared"]);
    group
        .case("remove_by_id_and_by_name", remove)
        .needs(NETWORKS)
        .proves(&["3.networks.remove"]);
    group
        .case("remove_unknown", remove_unknown)
        .proves(&["3.networks.remove", "4.notFound"]);
    group
        .case("remove_in_use", remove_in_use)
        .needs(NETWORKS)
        .proves(&["3.networks.remove"]);
    group.case("list_by_name", list).needs(NETWORKS).proves(READ);
    group
        .case("get_by_id_and_by_name", get)
        .needs(NETWORKS)
        .proves(READ);
    group
        .case("get_unknown_is_none", get_unknown)
        .needs(NETWORKS)
        .proves(READ);
    group
        .case("unknown_network_in_a_config", unknown_in_config)
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

async fn make(cx: &Context, suffix: &str) -> Result<Network, CaseError> {
    Ok(cx
        .driver()
        .create_network(&NetworkConfig::new(cx.name(suffix)).label("kept", "yes"))
        .await?)
}

async fn create(cx: Context) -> CaseResult {
    let network = make(&cx, "n").await?;
    expect::equal("name", network.name, cx.name("n"))?;
    expect::equal(
        "labels without the driver's own",
        network.labels,
        [("kept".to_owned(), "yes".to_owned())].into(),
    )?;
    expect::equal("driver", network.driver.as_str(), cx.driver().name())?;
    expect::that("not internal", !network.internal, network.internal)?;
    expect::that(
        "a time after 2020 in milliseconds",
        network.created_at > 1_577_836_800_000,
        network.created_at,
    )
}

async fn create_same_again(cx: Context) -> CaseResult {
    let first = make(&cx, "n").await?;
    expect::equal("network of the second call", make(&cx, "n").await?, first)
}

async fn another_spec(cx: Context) -> CaseResult {
    let first = make(&cx, "n").await?;
    for other in [
        NetworkConfig::new(&first.name),
        NetworkConfig::new(&first.name)
            .label("kept", "yes")
            .internal(true),
    ] {
        let error = expect::permanent(
            cx.driver().create_network(&other).await,
            "NETWORK_CREATION_FAILED",
        )?;
        expect::contains("a message", &error.to_string(), &first.name)?;
    }
    expect::equal("the first network", make(&cx, "n").await?, first)
}

async fn bad_names(cx: Context) -> CaseResult {
    for name in ["", "x", "-x", "a/b", "a b", "none", "host", "default"] {
        expect::violation(
            cx.driver().create_network(&NetworkConfig::new(name)).await,
            "/name",
        )?;
    }
    Ok(())
}

/// A subnet of the documentation range, chosen by the case's token, so that cases do not collide.
fn own_subnet(cx: &Context) -> String {
    let number = cx.owner().bytes().fold(7_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    format!("198.{}.{}.0/24", 18 + number % 2, (number >> 8) % 256)
}

async fn subnet(cx: Context) -> CaseResult {
    let subnet = own_subnet(&cx);
    let network = cx
        .driver()
        .create_network(&NetworkConfig::new(cx.name("n")).subnet(&subnet))
        .await?;
    expect::equal("subnet", network.subnet, Some(subnet.clone()))?;
    let container = cx.run(&cx.config(["forever"]).network(&network.name)).await?;
    let prefix = subnet.trim_end_matches("0/24");
    expect::that(
        format!("an address in {subnet}"),
        address(&container)?.starts_with(prefix),
        &container.addresses,
    )
}

async fn subnet_refused(cx: Context) -> CaseResult {
    let config = NetworkConfig::new(cx.name("n")).subnet(own_subnet(&cx));
    expect::violation(cx.driver().create_network(&config).await, "/subnet")?;
    expect::permanent(
        cx.driver().remove_network(&config.name).await,
        "NETWORK_NOT_FOUND",
    )
    .map(drop)
}

async fn remove(cx: Context) -> CaseResult {
    let (one, two) = (make(&cx, "one").await?, make(&cx, "two").await?);
    cx.driver().remove_network(&one.id).await?;
    cx.driver().remove_network(&two.name).await?;
    expect::equal("networks", cx.driver().list_networks().await?, Vec::new())
}

async fn remove_unknown(cx: Context) -> CaseResult {
    let name = cx.name("unknown");
    let error = expect::permanent(cx.driver().remove_network(&name).await, "NETWORK_NOT_FOUND")?;
    expect::equal("message", error.to_string(), format!("Network {name} not found"))
}

/// By a created container first, by one that runs then, by one that has ended at last: it could start again.
async fn remove_in_use(cx: Context) -> CaseResult {
    let network = make(&cx, "n").await?;
    let refused = async || {
        let error = expect::permanent(
            cx.driver().remove_network(&network.name).await,
            "NETWORK_REMOVE_FAILED",
        )?;
        expect::contains("a message", &error.to_string(), &network.name)
    };
    let id = cx
        .create(&cx.config(["sleep", "300"]).network(&network.name))
        .await?
        .id;
    refused().await?;
    cx.driver().start_container(&id).await?;
    refused().await?;
    cx.wait_exit(&id).await?;
    refused().await?;
    cx.driver().start_container(&id).await?;
    cx.wait_exit(&id).await?;
    Ok(())
}

async fn list(cx: Context) -> CaseResult {
    let mut made = vec![make(&cx, "b").await?, make(&cx, "a").await?];
    made.sort_by(|one, two| one.name.cmp(&two.name));
    expect::equal("networks by name", cx.driver().list_networks().await?, made)
}

async fn get(cx: Context) -> CaseResult {
    let network = make(&cx, "n").await?;
    expect::equal(
        "by name",
        cx.driver().get_network(&network.name).await?,
        Some(network.clone()),
    )?;
    expect::equal(
        "by id",
        cx.driver().get_network(&network.id).await?,
        Some(network),
    )
}

async fn get_unknown(cx: Context) -> CaseResult {
    expect::equal(
        "network",
        cx.driver().get_network(&cx.name("unknown")).await?,
        None,
    )
}

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

/// The first address of a container.
#[track_caller]
fn address(container: &ContainerInstance) -> Result<&str, CaseError> {
    expect::some(
        "an address of the container",
        container.addresses.first().map(|address| address.ip.as_str()),
    )
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
