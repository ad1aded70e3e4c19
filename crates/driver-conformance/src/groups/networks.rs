//! Networks.

use driver_types::{Capability, ContainerInstance, Network, NetworkConfig};

use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

pub(super) const NETWORKS: &[Capability] = &[Capability::Networks];

const READ: &[&str] = &["3.networks.read"];

const CREATE: &[&str] = &["3.networks.create"];

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
    super::networks_members::register(group);
}

pub(super) async fn make(cx: &Context, suffix: &str) -> Result<Network, CaseError> {
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

/// The first address of a container.
#[track_caller]
pub(super) fn address(container: &ContainerInstance) -> Result<&str, CaseError> {
    expect::some(
        "an address of the container",
        container.addresses.first().map(|address| address.ip.as_str()),
    )
}
