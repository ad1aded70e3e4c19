//! What happens to a driver's objects.

use serde::{Deserialize, Serialize};

use crate::{ExitInfo, HealthStatus};

/// Something that happened. Events of one container arrive in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When, in epoch milliseconds.
    pub time: u64,
    /// The container, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum EventKind {
    /// The container was made.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerCreated"))]
    Created,
    /// A run began.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerStarted"))]
    Started,
    /// Its processes were frozen.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerPaused"))]
    Paused,
    /// Its processes go on.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerResumed"))]
    Resumed,
    /// The kernel killed a process of it for memory. Comes before the exit.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerOom"))]
    Oom,
    /// A run ended.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerExited"))]
    Exited {
        /// How.
        exit: ExitInfo,
    },
    /// The verdict of its health check changed.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerHealthChanged"))]
    Health {
        /// The new verdict.
        status: HealthStatus,
    },
    /// The container is gone.
    #[cfg_attr(feature = "schema", schemars(title = "ContainerRemoved"))]
    Removed,
    /// An image was pulled, imported or made by a snapshot.
    #[cfg_attr(feature = "schema", schemars(title = "ImageAdded"))]
    ImageAdded {
        /// Its reference.
        reference: String,
    },
    /// An image was removed.
    #[cfg_attr(feature = "schema", schemars(title = "ImageRemoved"))]
    ImageRemoved {
        /// Its reference.
        reference: String,
    },
    /// A volume was made.
    #[cfg_attr(feature = "schema", schemars(title = "VolumeCreated"))]
    VolumeCreated {
        /// Its name.
        name: String,
    },
    /// A volume was removed.
    #[cfg_attr(feature = "schema", schemars(title = "VolumeRemoved"))]
    VolumeRemoved {
        /// Its name.
        name: String,
    },
    /// A network was made.
    #[cfg_attr(feature = "schema", schemars(title = "NetworkCreated"))]
    NetworkCreated {
        /// Its name.
        name: String,
    },
    /// A network was removed.
    #[cfg_attr(feature = "schema", schemars(title = "NetworkRemoved"))]
    NetworkRemoved {
        /// Its name.
        name: String,
    },
    /// The reader was too slow, or the engine was away: events were lost. List again.
    #[cfg_attr(feature = "schema", schemars(title = "Lagged"))]
    Lagged,
}

impl EventKind {
    /// The wire names of all kinds.
    pub const NAMES: [&str; 15] = [
        "created",
        "started",
        "paused",
        "resumed",
        "oom",
        "exited",
        "health",
        "removed",
        "imageAdded",
        "imageRemoved",
        "volumeCreated",
        "volumeRemoved",
        "networkCreated",
        "networkRemoved",
        "lagged",
    ];

    /// The wire name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Oom => "oom",
            Self::Exited { .. } => "exited",
            Self::Health { .. } => "health",
            Self::Removed => "removed",
            Self::ImageAdded { .. } => "imageAdded",
            Self::ImageRemoved { .. } => "imageRemoved",
            Self::VolumeCreated { .. } => "volumeCreated",
            Self::VolumeRemoved { .. } => "volumeRemoved",
            Self::NetworkCreated { .. } => "networkCreated",
            Self::NetworkRemoved { .. } => "networkRemoved",
            Self::Lagged => "lagged",
        }
    }
}

/// Which events to report. All conditions must hold; `lagged` always passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventFilter {
    /// Of this container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Of containers of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Of these kinds, by wire name; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

impl EventFilter {
    /// Of one container.
    pub fn container(id: impl Into<String>) -> Self {
        Self {
            container_id: Some(id.into()),
            ..Self::default()
        }
    }

    /// Whether an event passes.
    pub fn matches(&self, event: &Event) -> bool {
        let has = |wanted: &Option<String>, actual: &Option<String>| wanted.is_none() || wanted == actual;
        event.kind == EventKind::Lagged
            || has(&self.container_id, &event.container_id)
                && has(&self.session_id, &event.session_id)
                && (self.types.is_empty() || self.types.iter().any(|name| name == event.kind.name()))
    }
}
