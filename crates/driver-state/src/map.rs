//! The maps of this crate: those of the standard library, with a hasher that costs less than the look-up itself. It is seeded at
//! random for each map, so that callers who choose names cannot choose collisions.

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
