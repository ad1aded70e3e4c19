//! The seven groups into which the seed document sorts errors.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an error is about. Metrics and alerts group by it; retry decisions use
/// [`DriverError::is_retryable`](crate::DriverError::is_retryable) instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorGroup {
    /// A container, its process, its image or its state.
    Container,
    /// A limit: of resources, of rate, or of concurrent calls.
    Resource,
    /// A volume.
    Volume,
    /// A network, or the connection to the engine.
    Network,
    /// The driver, its engine or the host.
    System,
    /// Who calls and what they may do.
    Authentication,
    /// What the caller asked for.
    Configuration,
}

impl ErrorGroup {
    /// All groups, in the order of the seed document.
    pub const ALL: [Self; 7] = [
        Self::Container,
        Self::Resource,
        Self::Volume,
        Self::Network,
        Self::System,
        Self::Authentication,
        Self::Configuration,
    ];

    /// The wire name: lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Resource => "resource",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::System => "system",
            Self::Authentication => "authentication",
            Self::Configuration => "configuration",
        }
    }
}

impl fmt::Display for ErrorGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
