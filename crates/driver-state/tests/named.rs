//! Volumes and networks, and who uses them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use driver_state::{NamedStore, Scope};
use driver_types::{Labels, Network, NetworkConfig, Result, Volume, VolumeConfig};

const OWN: Scope<'static> = Scope::Owner("owner");

fn owner() -> Arc<str> {
    "owner".into()
}

fn volume(id: &str, name: &str) -> Volume {
    Volume {
        id: id.to_owned(),
        name: name.to_owned(),
        driver: "test".to_owned(),
        labels: Labels::new(),
        created_at: 1,
        size_mib: None,
        mountpoint: None,
    }
}

fn create(volumes: &NamedStore<Volume>, owner: &str, name: &str) -> Result<Volume> {
    let id = format!("id-of-{name}");
    volumes.create(&owner.into(), name, &VolumeConfig::new(name), || {
        volume(&id, name)
    })
}

#[test]
fn the_same_spec_gives_the_same_object_and_another_one_an_error() {
    let volumes = NamedStore::new();
    let first = create(&volumes, "owner", "data").unwrap();
    assert_eq!(create(&volumes, "owner", "data").unwrap(), first);
    let other_spec = VolumeConfig::new("data").label("tier", "db");
    let error = volumes
        .create(&owner(), "data", &other_spec, || panic!("must not be built"))
        .unwrap_err();
    assert_eq!(
        (error.code(), error.is_retryable()),
        ("VOLUME_CREATION_FAILED", false)
    );
    assert_eq!(volumes.existing("owner", "data", &other_spec).unwrap_err(), error);
    assert_eq!(volumes.existing("owner", "none", &other_spec), Ok(None));
    assert!(
        create(&volumes, "other", "data").is_ok(),
        "each owner has names of its own"
    );
}

#[test]
fn objects_are_found_by_id_or_name_of_the_owner_only() {
    let volumes = NamedStore::new();
    create(&volumes, "owner", "data").unwrap();
    create(&volumes, "other", "theirs").unwrap();
    for id in ["data", "id-of-data"] {
        assert_eq!(volumes.require(OWN, id).unwrap().name, "data");
    }
    for id in ["theirs", "id-of-theirs", "none"] {
        assert_eq!(volumes.require(OWN, id).unwrap_err().code(), "VOLUME_NOT_FOUND");
        assert_eq!(volumes.remove(OWN, id).unwrap_err().code(), "VOLUME_NOT_FOUND");
        assert_eq!(volumes.users(OWN, id).unwrap_err().code(), "VOLUME_NOT_FOUND");
    }
    assert!(volumes.get(Scope::All, "id-of-theirs").is_some());
}

#[test]
fn a_name_that_is_the_id_of_another_means_that_other() {
    let volumes = NamedStore::new();
    create(&volumes, "owner", "data").unwrap();
    let tricky = VolumeConfig::new("id-of-data");
    volumes
        .create(&owner(), "id-of-data", &tricky, || volume("tricky", "id-of-data"))
        .unwrap();
    assert_eq!(volumes.get(OWN, "id-of-data").unwrap().name, "data");
    assert_eq!(volumes.remove(OWN, "id-of-data").unwrap().name, "data");
    assert_eq!(volumes.get(OWN, "id-of-data").unwrap().id, "tricky");
}

#[test]
fn lists_are_by_name() {
    let volumes = NamedStore::new();
    for name in ["b", "a", "c"] {
        create(&volumes, "owner", name).unwrap();
    }
    create(&volumes, "other", "a").unwrap();
    let names = |scope| {
        volumes
            .list(scope)
            .into_iter()
            .map(|volume| volume.name)
            .collect::<String>()
    };
    assert_eq!((names(OWN).as_str(), names(Scope::All).as_str()), ("abc", "aabc"));
}

#[test]
fn what_is_in_use_cannot_be_removed() {
    let volumes = NamedStore::new();
    create(&volumes, "owner", "data").unwrap();
    create(&volumes, "owner", "logs").unwrap();
    volumes
        .hold(&owner(), "one", ["data", "id-of-logs", "data"])
        .unwrap()
        .keep();
    for container in ["two", "three", "four"] {
        volumes.hold(&owner(), container, ["data"]).unwrap().keep();
    }
    let error = volumes.remove(OWN, "data").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Failed to remove volume data: in use by container four, one, three and others; remove the container first"
    );
    assert_eq!(volumes.users(OWN, "logs").unwrap(), ["one"]);

    for container in ["one", "two", "three", "four", "four", "nobody"] {
        volumes.release(container);
    }
    assert!(volumes.users(OWN, "data").unwrap().is_empty());
    assert!(volumes.remove(OWN, "data").is_ok() && volumes.remove(OWN, "logs").is_ok());
    assert_eq!(
        volumes.remove(OWN, "data").unwrap_err().code(),
        "VOLUME_NOT_FOUND"
    );
}

#[test]
fn a_hold_is_all_or_nothing_and_ends_with_its_guard() {
    let volumes = NamedStore::new();
    create(&volumes, "owner", "data").unwrap();
    let missing = volumes.hold(&owner(), "one", ["data", "none"]);
    assert_eq!(missing.unwrap_err().code(), "VOLUME_NOT_FOUND");
    assert!(volumes.users(OWN, "data").unwrap().is_empty());

    let hold = volumes.hold(&owner(), "one", ["data"]).unwrap();
    drop(volumes.hold(&owner(), "one", []).unwrap());
    assert_eq!(
        volumes.users(OWN, "data").unwrap(),
        ["one"],
        "an empty hold releases nothing"
    );
    drop(hold);
    assert!(volumes.remove(OWN, "data").is_ok());
}

#[test]
fn networks_have_errors_of_their_own() {
    let networks = NamedStore::<Network>::new();
    let spec = NetworkConfig::new("net");
    let network = Network {
        id: "net-id".to_owned(),
        name: "net".to_owned(),
        driver: "test".to_owned(),
        labels: Labels::new(),
        created_at: 1,
        internal: false,
        subnet: None,
        gateway: None,
    };
    networks
        .create(&owner(), "net", &spec, || network.clone())
        .unwrap();
    let other = networks.create(&owner(), "net", &spec.clone().internal(true), || network.clone());
    assert_eq!(other.unwrap_err().code(), "NETWORK_CREATION_FAILED");
    networks.hold(&owner(), "one", ["net"]).unwrap().keep();
    assert_eq!(
        networks.remove(OWN, "net-id").unwrap_err().code(),
        "NETWORK_REMOVE_FAILED"
    );
    assert_eq!(
        networks.remove(OWN, "none").unwrap_err().code(),
        "NETWORK_NOT_FOUND"
    );
    networks.clear();
    assert!(networks.list(Scope::All).is_empty());
    networks.release("one");
}
