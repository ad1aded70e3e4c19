//! Networks, known by their labels and always addressed by id: a name can be that of several.

use std::collections::BTreeMap;
use std::sync::Arc;

use driver_types::{ContainerFilter, DriverError, Network, NetworkConfig, Operation, Result, labels};
use driver_validation::{check_network_capabilities, validate_network_config};
use serde_json::json;

use crate::engine::{Engine, detached, is_full_id};
use crate::failure::Failure;
use crate::instance::callers_labels;
use crate::time::parse_ms;
use crate::{DRIVER_NAME, capabilities, error, naming, query, wire};

/// The bridge device of the network that stands for `default`, so that rules of the host can name it.
const DEFAULT_BRIDGE: &str = "openagent0";
/// Marks the network that stands for `default`. It belongs to no owner.
const DEFAULT_LABEL: &str = "openagent.docker.network";

/// Makes a network, or returns the one of that name if its spec is the same.
pub(crate) async fn create_network(engine: &Arc<Engine>, config: &NetworkConfig) -> Result<Network> {
    validate_network_config(config)?;
    check_network_capabilities(config, &capabilities::capabilities(engine).await?)?;
    let spec = naming::hash(config);
    let ipam = config
        .subnet
        .iter()
        .map(|subnet| json!({ "Subnet": subnet }))
        .collect::<Vec<_>>();
    let body = json!({
        "Name": config.name,
        "CheckDuplicate": true,
        "Driver": "bridge",
        "Internal": config.internal,
        "IPAM": { "Driver": "default", "Config": ipam },
        "Labels": naming::object_labels(&engine.options.owner, &config.labels, spec.clone()),
    });
    let (engine, name) = (Arc::clone(engine), config.name.clone());
    // The duplicate check of the engine is not safe against itself: calls of this driver wait for each other.
    detached(async move {
        let _turn = engine.network_turn.lock().await;
        let found = match find(&engine, Operation::CreateNetwork, &name).await? {
            Some(found) => found,
            None => {
                engine.own_networks.made(&name);
                let made = create(&engine, &name, &body).await;
                if made.is_err() {
                    engine.own_networks.removed(&name);
                }
                made?
            }
        };
        same(&engine, found, &spec)
    })
    .await
}

async fn create(engine: &Engine, name: &str, body: &serde_json::Value) -> Result<wire::Network> {
    let operation = Operation::CreateNetwork;
    let made: Result<wire::NetworkCreated, Failure> =
        engine.client.post("/networks/create").json(body).value().await;
    let gone = || DriverError::network_creation(name, "it was removed while it was made");
    match made {
        Ok(made) => by_id(engine, operation, &made.id).await?.ok_or_else(gone),
        // Another process was faster. Podman answers 500.
        Err(failure) if failure.says("already exists") || failure.says("already used") => {
            match find(engine, operation, name).await? {
                Some(found) => Ok(found),
                None => Err(error::network(operation, name, failure)),
            }
        }
        Err(failure) => Err(error::network(operation, name, failure)),
    }
}

fn same(engine: &Engine, found: wire::Network, spec: &str) -> Result<Network> {
    let refused = |why: &str| Err(DriverError::network_creation(&found.name, why).permanent());
    if !engine.owns(&found.labels) {
        return refused("a network of this name exists that is not this owner's; use another name");
    }
    if found.labels.get(labels::SPEC).map(String::as_str) != Some(spec) {
        return refused(
            "a network of this name exists with another spec; remove it first, or use another name",
        );
    }
    Ok(network(found))
}

/// Removes a network of the owner.
pub(crate) async fn remove_network(engine: &Arc<Engine>, id: &str) -> Result<()> {
    let found = owned(engine, Operation::RemoveNetwork, id).await?;
    let found = found.ok_or_else(|| DriverError::network_not_found(id))?;
    let (engine, asked) = (Arc::clone(engine), id.to_owned());
    detached(async move { remove(&engine, &asked, &found).await }).await
}

/// Removes a network that no container refers to. The engine itself would remove one that only stopped ones use.
pub(crate) async fn remove(engine: &Engine, asked: &str, found: &wire::Network) -> Result<()> {
    let operation = Operation::RemoveNetwork;
    let users = users(engine, operation, found).await?;
    if !users.is_empty() {
        let message = format!("it is used by {}; remove those first", users.join(", "));
        return Err(DriverError::network_remove(asked, message));
    }
    let removed = engine
        .client
        .delete(format!("/networks/{}", found.id))
        .unit()
        .await;
    removed.map_err(|failure| error::network(operation, asked, failure))
}

/// The names of the containers that refer to a network, running or not, of any owner.
async fn users(engine: &Engine, operation: Operation, network: &wire::Network) -> Result<Vec<String>> {
    let everybody = ContainerFilter {
        all_owners: true,
        ..ContainerFilter::default()
    };
    let containers = query::summaries(engine, operation, &everybody).await?;
    let names = containers
        .iter()
        .filter(|container| refers_to(container, network))
        .map(|container| {
            let name = container.names.first().map(|name| name.trim_start_matches('/'));
            name.unwrap_or(&container.id).to_owned()
        });
    Ok(names.collect())
}

/// Whether a container is, or would be when started, in a network.
pub(crate) fn refers_to(container: &wire::Summary, network: &wire::Network) -> bool {
    let mode = &container.host_config.network_mode;
    let mut connected = container.network_settings.networks.iter();
    *mode == network.id
        || *mode == network.name
        || connected.any(|(name, endpoint)| *name == network.name || endpoint.network_id == network.id)
}

/// The owner's networks, by name.
pub(crate) async fn list_networks(engine: &Arc<Engine>) -> Result<Vec<Network>> {
    let found = list(engine, Operation::ListNetworks, &engine.owner_label()).await?;
    Ok(found.into_iter().map(network).collect())
}

/// A network of the owner, by id or name.
pub(crate) async fn get_network(engine: &Arc<Engine>, id: &str) -> Result<Option<Network>> {
    Ok(owned(engine, Operation::GetNetwork, id).await?.map(network))
}

async fn owned(engine: &Engine, operation: Operation, id: &str) -> Result<Option<wire::Network>> {
    let found = if is_full_id(id) {
        by_id(engine, operation, id).await?
    } else {
        find(engine, operation, id).await?
    };
    Ok(found.filter(|network| engine.owns(&network.labels)))
}

/// The networks with a label, by name.
pub(crate) async fn list(engine: &Engine, operation: Operation, label: &str) -> Result<Vec<wire::Network>> {
    let filters = BTreeMap::from([("label", [label])]);
    filtered(engine, operation, "", &filters).await
}

/// A network of anybody, by its exact name.
pub(crate) async fn find(engine: &Engine, operation: Operation, name: &str) -> Result<Option<wire::Network>> {
    // The engine's filter finds parts of names as well.
    let filters = BTreeMap::from([("name", [name])]);
    let found = filtered(engine, operation, name, &filters).await?;
    Ok(found.into_iter().find(|network| network.name == name))
}

async fn filtered(
    engine: &Engine,
    operation: Operation,
    name: &str,
    filters: &BTreeMap<&str, [&str; 1]>,
) -> Result<Vec<wire::Network>> {
    let found: Result<Vec<wire::Network>, _> = engine.client.get("/networks").filters(filters).value().await;
    let mut networks = found.map_err(|failure| error::network(operation, name, failure))?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks)
}

async fn by_id(engine: &Engine, operation: Operation, id: &str) -> Result<Option<wire::Network>> {
    match engine.client.get(format!("/networks/{id}")).value().await {
        Ok(network) => Ok(Some(network)),
        Err(Failure::Status { status: 404, .. }) => Ok(None),
        Err(failure) => Err(error::network(operation, id, failure)),
    }
}

/// The id of the network that stands for `default`, made on first use. All owners share it; its members do not reach
/// each other.
pub(crate) async fn default_network(engine: &Engine) -> Result<String> {
    let _turn = engine.network_turn.lock().await;
    let name = naming::DEFAULT_NETWORK;
    let found = match find(engine, Operation::CreateContainer, name).await? {
        Some(found) => found,
        None => {
            let body = json!({
                "Name": name,
                "CheckDuplicate": true,
                "Driver": "bridge",
                "Options": {
                    "com.docker.network.bridge.name": DEFAULT_BRIDGE,
                    "com.docker.network.bridge.enable_icc": "false",
                    "com.docker.network.bridge.enable_ip_masquerade": "true",
                },
                "Labels": { DEFAULT_LABEL: "default" },
            });
            create(engine, name, &body).await?
        }
    };
    if found.labels.get(DEFAULT_LABEL).map(String::as_str) != Some("default") {
        let message = format!("the network {name} was not made by this driver; remove or rename it");
        return Err(DriverError::network_creation(name, message).permanent());
    }
    Ok(found.id)
}

/// The id of a network of the owner that a config names.
pub(crate) async fn of_owner(engine: &Engine, name: &str) -> Result<Option<String>> {
    Ok(owned(engine, Operation::CreateContainer, name)
        .await?
        .map(|network| network.id))
}

fn network(found: wire::Network) -> Network {
    let ipam = found
        .ipam
        .config
        .into_iter()
        .find(|config| !config.subnet.contains(':'));
    let ipam = ipam.unwrap_or_default();
    Network {
        id: found.id,
        name: found.name,
        driver: DRIVER_NAME.to_owned(),
        labels: callers_labels(&found.labels),
        created_at: parse_ms(&found.created).unwrap_or_default(),
        internal: found.internal,
        subnet: Some(ipam.subnet).filter(|subnet| !subnet.is_empty()),
        gateway: Some(ipam.gateway).filter(|gateway| !gateway.is_empty()),
    }
}
