//! Names and labels of what the driver makes, and the hash by which equal specs are known.

use std::hash::{BuildHasher, RandomState};

use driver_types::{ContainerConfig, labels};
use serde::Serialize;

/// The limits as they were asked for, as JSON: the engine may not know the disk limit.
pub(crate) const RESOURCES: &str = "openagent.docker.resources";
/// Different for each call of create: by it a call finds what it made after its connection broke.
pub(crate) const ATTEMPT: &str = "openagent.docker.attempt";
/// The keys of labels that the image brought, as a JSON list: they are not the caller's.
pub(crate) const IMAGE_LABELS: &str = "openagent.docker.image-labels";
/// The name of the network that stands for `default`.
pub(crate) const DEFAULT_NETWORK: &str = "openagent-default";

/// The contract's name of a network of the engine's.
pub(crate) fn network_name(engines: &str) -> &str {
    if engines == DEFAULT_NETWORK {
        ContainerConfig::NETWORK_DEFAULT
    } else {
        engines
    }
}

/// A text that no other call has: 16 hexadecimal digits. Not secret.
pub(crate) fn unique() -> String {
    format!("{:016x}", RandomState::new().hash_one(crate::time::now_ms()))
}

/// The name of a container without one. With a request id it follows from that and the owner, so that the engine's own
/// check for names decides between racing processes.
pub(crate) fn container_name(owner: &str, request_id: Option<&str>) -> String {
    match request_id {
        Some(request_id) => format!("openagent-r-{}", hash(&(owner, request_id))),
        None => format!("openagent-{}", unique()),
    }
}

/// A hash of a spec's JSON: equal specs have equal hashes in every version of this driver. It guards against mistakes,
/// not against an attacker: FNV-1a of 128 bits.
pub(crate) fn hash(spec: &impl Serialize) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let json = serde_json::to_vec(spec).unwrap_or_default();
    let hash = json.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    });
    format!("{hash:032x}")
}

/// The labels of an object of `owner` that was made of a spec with this hash, beside the caller's.
pub(crate) fn object_labels(
    owner: &str,
    callers: &driver_types::Labels,
    spec_hash: String,
) -> std::collections::BTreeMap<String, String> {
    let own = [
        (labels::OWNER.to_owned(), owner.to_owned()),
        (labels::SPEC.to_owned(), spec_hash),
    ];
    callers.clone().into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_fnv() {
        // FNV-1a 128 of `"a"` with its quotes, computed apart from this code.
        assert_eq!(hash(&"a"), "a68c4db0ee8b5822836dbc790667a42a".to_owned());
    }

    #[test]
    fn names_follow_from_the_request_or_are_unique() {
        assert_eq!(container_name("o", Some("r")), container_name("o", Some("r")));
        assert_ne!(container_name("o", Some("r")), container_name("p", Some("r")));
        assert_ne!(container_name("o", None), container_name("o", None));
    }
}
