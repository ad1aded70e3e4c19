//! Choosing the index that answers a filter at the least cost.

use driver_types::{ContainerFilter, ContainerStatus};

use super::index::{Claim, Key, Keys, OwnerIndex};

/// The containers that pass one of the filter's conditions, the most selective one, oldest first.
pub(super) fn candidates(index: &OwnerIndex, filter: &ContainerFilter) -> Vec<Key> {
    let Some(best) = smallest(index, filter) else {
        return Vec::new();
    };
    let mut limit = best.len();
    let by_status = statuses(filter).filter(|statuses| count(index, statuses) < limit);
    if let Some(statuses) = &by_status {
        limit = count(index, statuses);
    }
    if let Some(keys) = filter
        .name_prefix
        .as_deref()
        .and_then(|prefix| by_name(index, prefix, limit))
    {
        return keys;
    }
    match by_status {
        Some(statuses) => merge(statuses.iter().flat_map(|status| index.status(*status)).copied()),
        None => best.iter().copied().collect(),
    }
}

/// The smallest of the sets that conditions on session and labels select, or all containers where there is no such
/// condition; `None` where one of them selects nothing.
fn smallest<'a>(index: &'a OwnerIndex, filter: &ContainerFilter) -> Option<&'a Keys> {
    let mut best = &index.members;
    let session = filter
        .session_id
        .iter()
        .map(|session| index.sessions.get(session.as_str()));
    let labels = filter.labels.iter().map(|(key, value)| index.label(key, value));
    for keys in session.chain(labels) {
        let keys = keys?;
        if keys.len() < best.len() {
            best = keys;
        }
    }
    Some(best)
}

/// The statuses that pass, where the filter has a condition on them.
fn statuses(filter: &ContainerFilter) -> Option<Vec<ContainerStatus>> {
    if filter.status.is_empty() && filter.state.is_none() {
        return None;
    }
    let passes = |status: &ContainerStatus| {
        (filter.status.is_empty() || filter.status.contains(status))
            && filter.state.is_none_or(|state| state == status.state())
    };
    Some(ContainerStatus::ALL.into_iter().filter(passes).collect())
}

fn count(index: &OwnerIndex, statuses: &[ContainerStatus]) -> usize {
    statuses.iter().map(|status| index.status(*status).len()).sum()
}

/// Those whose name begins so, unless there are `limit` such names: then another index is as good.
fn by_name(index: &OwnerIndex, prefix: &str, limit: usize) -> Option<Vec<Key>> {
    let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
    let claims: Vec<&Claim> = index
        .names
        .range::<str, _>(from)
        .take_while(|(name, _)| name.starts_with(prefix))
        .take(limit)
        .map(|(_, claim)| claim)
        .collect();
    // Reserved names are counted too: whoever reads up to the limit may have missed some.
    (claims.len() < limit).then(|| {
        merge(claims.into_iter().filter_map(|claim| match claim {
            Claim::Held(key) => Some(*key),
            Claim::Reserved(_) => None,
        }))
    })
}

fn merge(keys: impl Iterator<Item = Key>) -> Vec<Key> {
    let mut keys: Vec<Key> = keys.collect();
    keys.sort_unstable();
    keys
}
