//! What is left after a crash, and what to do with it.

use driver_errors::DriverError;
use serde::{Deserialize, Serialize};

use crate::ContainerInstance;

/// What `recover` found, all of the driver's owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RecoveryReport {
    /// Containers that still run, or were never started: they are the driver's again.
    pub adopted: Vec<ContainerInstance>,
    /// Containers whose run has ended, with their exits.
    pub exited: Vec<ContainerInstance>,
    /// Half-made or half-removed objects, which `reap` removes.
    pub orphaned: Vec<ObjectRef>,
}

/// What `reap` removes. Nothing without the drivers' labels is ever touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReapPolicy {
    /// Containers that were made longer ago than this have expired, running or not. In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 9_007_199_254_740_991_u64)))]
    pub max_age_ms: Option<u64>,
    /// The owners that live: containers, unused volumes and unused networks of any other owner have no owner.
    /// Absent: all live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_owners: Option<Vec<String>>,
    /// The sessions that live: containers of the driver's owner in any other session have no owner. Absent: all live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_sessions: Option<Vec<String>>,
    /// Objects younger than this are spared from the two rules on owners and sessions, and from the removal of
    /// half-made objects; absent: 300000. In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 9_007_199_254_740_991_u64)))]
    pub grace_ms: Option<u64>,
    /// Report only.
    pub dry_run: bool,
}

impl ReapPolicy {
    /// The grace time where none is given, in milliseconds.
    pub const DEFAULT_GRACE_MS: u64 = 300_000;

    /// The grace time to use.
    pub fn effective_grace_ms(&self) -> u64 {
        self.grace_ms.unwrap_or(Self::DEFAULT_GRACE_MS)
    }
}

/// What `reap` did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReapReport {
    /// What was removed, or would be.
    pub removed: Vec<Reaped>,
    /// What could not be removed.
    pub failed: Vec<ReapFailure>,
    /// Whether nothing was really done.
    pub dry_run: bool,
}

/// An object that `reap` removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reaped {
    /// The object.
    pub object: ObjectRef,
    /// Why.
    pub reason: ReapReason,
}

/// An object that `reap` could not remove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReapFailure {
    /// The object.
    pub object: ObjectRef,
    /// Why not.
    pub error: DriverError,
}

/// Why an object was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReapReason {
    /// It was older than the policy's age.
    Expired,
    /// Its owner or session does not live.
    Ownerless,
    /// It was half-made or half-removed.
    Orphaned,
}

/// An object of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// What it is.
    pub kind: ObjectKind,
    /// Its id.
    pub id: String,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A container.
    Container,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// An image.
    Image,
}
