//! Images.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Env, Labels};

/// An image that the driver has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The digest of its config (`sha256:...`).
    pub id: String,
    /// The references that stand for it, usable by `create_container`.
    pub references: Vec<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was made, in epoch milliseconds.
    pub created_at: u64,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// An image to pull.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PullRequest {
    /// `name[:tag][@digest]`; without tag and digest: `latest`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    pub reference: String,
    /// Credentials for the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<RegistryAuth>,
}

impl PullRequest {
    /// A pull without credentials.
    pub fn new(reference: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            auth: None,
        }
    }
}

/// Credentials for a registry. Never logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryAuth {
    /// The user.
    pub username: String,
    /// The password or token.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    #[serde(serialize_with = "expose")]
    pub password: SecretString,
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Progress of a pull. The last item of a successful pull has `status` `complete` and the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PullProgress {
    /// What is being done, for people; `complete` at the end.
    pub status: String,
    /// The layer that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Bytes done of the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_bytes: Option<u64>,
    /// Bytes in all of the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// The image, in the last item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

impl PullProgress {
    /// The status of the last item.
    pub const COMPLETE: &str = "complete";
}

/// How a root tar becomes an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportOptions {
    /// The reference that will stand for it: `name[:tag]`. An image that has it loses it.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    pub reference: String,
    /// What containers of it run by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The default arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its environment variables.
    #[serde(default, skip_serializing_if = "env_is_empty")]
    pub env: Env,
    /// Its working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

fn env_is_empty(env: &Env) -> bool {
    env.is_empty()
}

impl ImportOptions {
    /// An image without defaults of its own.
    pub fn new(reference: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: Env::default(),
            working_dir: None,
            labels: Labels::new(),
        }
    }
}
