//! Security options of a container.

use serde::{Deserialize, Serialize};

/// How a container is confined (contract sections 1 and 7). The defaults are the secure ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SecurityOptions {
    /// Mount the root file system read-only.
    pub read_only: bool,
    /// Set the kernel's no_new_privs bit (prctl(2)): set-uid programs gain nothing.
    pub no_new_privileges: bool,
    /// User name or uid, and optionally `:` with a group name or gid.
    #[cfg_attr(
        feature = "schema",
        schemars(regex(
            pattern = r"^([A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10})(:([A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10}))?$"
        ))
    )]
    pub user: String,
    /// Linux capabilities.
    pub capabilities: LinuxCapabilities,
    /// The seccomp profile.
    pub seccomp: SeccompProfile,
}

impl Default for SecurityOptions {
    fn default() -> Self {
        Self {
            read_only: true,
            no_new_privileges: true,
            user: "1000:1000".to_owned(),
            capabilities: LinuxCapabilities::default(),
            seccomp: SeccompProfile::Default,
        }
    }
}

impl SecurityOptions {
    /// Sets whether the root file system is read-only.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Sets the no_new_privs bit.
    #[must_use]
    pub fn no_new_privileges(self, no_new_privileges: bool) -> Self {
        Self {
            no_new_privileges,
            ..self
        }
    }

    /// Sets the user.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            ..self
        }
    }

    /// Adds a Linux capability.
    #[must_use]
    pub fn add_capability(mut self, name: impl Into<String>) -> Self {
        self.capabilities.add.push(name.into());
        self
    }

    /// Sets the seccomp profile.
    #[must_use]
    pub fn seccomp(self, seccomp: SeccompProfile) -> Self {
        Self { seccomp, ..self }
    }
}

/// Linux capabilities (capabilities(7)), with or without the `CAP_` prefix. `drop` is applied before `add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LinuxCapabilities {
    /// Dropped; `ALL` for every one.
    pub drop: Vec<String>,
    /// Added back.
    pub add: Vec<String>,
}

impl Default for LinuxCapabilities {
    fn default() -> Self {
        Self {
            drop: vec!["ALL".to_owned()],
            add: Vec::new(),
        }
    }
}

/// Which system calls are filtered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SeccompProfile {
    /// The driver's default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
}
