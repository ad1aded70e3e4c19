//! What a driver would do, and what its host lacks.

use serde::{Deserialize, Serialize};

use crate::SupportLevel;

/// What `create_container` would do with a config. Nothing has been done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The name of the driver.
    pub driver: String,
    /// Whether nothing is refused.
    pub feasible: bool,
    /// The image as asked for.
    pub image: String,
    /// Its digest, where the image is here already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Whether the image would be pulled.
    pub pull: bool,
    /// One item a field that needs something of the driver.
    pub items: Vec<PlanItem>,
}

/// What happens to one field of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlanItem {
    /// The field, as a JSON pointer into the config.
    pub pointer: String,
    /// `native`, `emulated`, or `none`: refused.
    pub support: SupportLevel,
    /// Why it is not native, or what will be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a driver's host has and lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// One item a requirement.
    pub checks: Vec<PreflightCheck>,
}

impl Preflight {
    /// Whether no check failed.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.status != CheckStatus::Fail)
    }
}

/// One requirement of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreflightCheck {
    /// What is checked, in a word or two.
    pub name: String,
    /// The verdict.
    pub status: CheckStatus,
    /// What was found.
    pub message: String,
    /// The way out, where the verdict is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The verdict of a [`PreflightCheck`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// All is well.
    Ok,
    /// Something works worse, or is not supported.
    Warn,
    /// The driver cannot work.
    Fail,
}
