//! The labels by which drivers know their own objects.

/// The prefix that callers must not use.
pub const PREFIX: &str = "openagent.";
/// Who opened the driver.
pub const OWNER: &str = "openagent.owner";
/// The session of a container.
pub const SESSION: &str = "openagent.session";
/// The request id of a container.
pub const REQUEST: &str = "openagent.request";
/// A hash of the config or spec of an object, to tell equal from different.
pub const SPEC: &str = "openagent.spec";
/// The owner where none is given.
pub const DEFAULT_OWNER: &str = "default";
