//! Why a call to the engine failed, before it is known which operation that concerns.

use std::error::Error;

use serde::Deserialize;

use crate::host::Host;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: nothing was asked, nothing has happened.
    Unreachable(String),
    /// The connection broke after the request was sent: whether it was done is not known.
    Broken(String),
    /// The engine refused.
    Status {
        /// The HTTP status, 400 and above.
        status: u16,
        /// What the engine says.
        message: String,
    },
    /// The reply, or the request, makes no sense.
    Malformed(String),
}

impl Failure {
    /// The failure that an error of the HTTP client stands for.
    pub(crate) fn transport(error: &hyper_util::client::legacy::Error, host: &Host) -> Self {
        let cause = std::iter::successors(error.source(), |error| (*error).source())
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        if error.is_connect() {
            Self::Unreachable(format!("no engine answers at {host}: {cause}"))
        } else {
            Self::Broken(format!("the connection to {host} broke: {cause}"))
        }
    }

    /// The failure that a refusal of the engine stands for.
    pub(crate) fn status(status: u16, body: &[u8]) -> Self {
        /// Docker says `message`; Podman adds `cause`.
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let message = serde_json::from_slice(body).map_or_else(
            |_| String::from_utf8_lossy(body).trim().to_owned(),
            |refusal: Refusal| refusal.message,
        );
        Self::Status { status, message }
    }

    /// The HTTP status, if the engine refused.
    pub(crate) fn status_code(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What happened, for people.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Unreachable(message) | Self::Broken(message) => message.clone(),
            Self::Status { status, message } if message.is_empty() => format!("the engine answered {status}"),
            Self::Status { message, .. } => message.clone(),
            Self::Malformed(message) => format!("the engine's reply makes no sense: {message}"),
        }
    }

    /// Whether the message of a refusal has this fragment, whatever its case.
    pub(crate) fn says(&self, fragment: &str) -> bool {
        match self {
            Self::Status { message, .. } => message
                .to_ascii_lowercase()
                .contains(&fragment.to_ascii_lowercase()),
            _ => false,
        }
    }
}
