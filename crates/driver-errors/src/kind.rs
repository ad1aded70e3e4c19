//! The kinds of errors: one table gives each its payload, code, message form, retry flag and group.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ErrorGroup, Violation};

/// The statuses in which an operation would have been legal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusList(pub Vec<String>);

impl fmt::Display for StatusList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("no status"),
            statuses => f.write_str(&statuses.join(" or ")),
        }
    }
}

/// One row of the error table of contract section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// The stable code on the wire.
    pub code: &'static str,
    /// The message form, with `{field}` for each payload field that it shows.
    pub template: &'static str,
    /// Whether a repeat can help, unless the error says otherwise.
    pub retryable: bool,
    /// What the error is about.
    pub group: ErrorGroup,
}

macro_rules! error_kinds {
    ($(
        $(#[$doc:meta])*
        $name:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* }
        = $code:literal, $template:literal, retryable: $retryable:literal, $group:ident;
    )*) => {
        /// What went wrong, with its typed payload (contract section 4).
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
        #[serde(tag = "code", content = "details", rename_all_fields = "camelCase")]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the payload fields are named after the placeholders of the message")]
        pub enum ErrorKind {
            $( $(#[$doc])* #[serde(rename = $code)] #[error($template)] $name { $( $(#[$field_meta])* $field: $type ),* }, )*
        }

        impl ErrorKind {
            /// The whole table, in the order of the contract.
            pub const TABLE: &[KindInfo] = &[
                $( KindInfo { code: $code, template: $template, retryable: $retryable, group: ErrorGroup::$group } ),*
            ];

            /// This kind's row of the table.
            pub fn info(&self) -> KindInfo {
                match self {
                    $( Self::$name { .. } => KindInfo {
                        code: $code, template: $template, retryable: $retryable, group: ErrorGroup::$group,
                    }, )*
                }
            }
        }
    };
}

error_kinds! {
    /// No container has this id, or it belongs to another owner.
    ContainerNotFound { id: String }
        = "CONTAINER_NOT_FOUND", "Container {id} not found", retryable: false, Container;
    /// A container could not be made; nothing of it is left.
    ContainerCreation { message: String }
        = "CONTAINER_CREATION_FAILED", "{message}", retryable: true, Container;
    /// The process could not be started; the container is back in its former state. `exitCode` is 127 for a
    /// missing program and 126 for one that is not executable.
    ContainerStart { id: String, message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")] exit_code: Option<i32> }
        = "CONTAINER_START_FAILED", "Failed to start container {id}: {message}", retryable: true, Container;
    /// The process could not be stopped or signalled.
    ContainerStop { id: String, message: String }
        = "CONTAINER_STOP_FAILED", "Failed to stop container {id}: {message}", retryable: true, Container;
    /// The container was not removed: it runs and `force` was not given, or the engine failed.
    ContainerRemove { id: String, message: String }
        = "CONTAINER_REMOVE_FAILED", "Failed to remove container {id}: {message}", retryable: false, Container;
    /// A volume could not be made, or one of that name has another spec.
    VolumeCreation { name: String, message: String }
        = "VOLUME_CREATION_FAILED", "Failed to create volume {name}: {message}", retryable: true, Volume;
    /// No volume has this id or name.
    VolumeNotFound { id: String }
        = "VOLUME_NOT_FOUND", "Volume {id} not found", retryable: false, Volume;
    /// The volume is in use, or the engine failed to remove it.
    VolumeRemove { id: String, message: String }
        = "VOLUME_REMOVE_FAILED", "Failed to remove volume {id}: {message}", retryable: false, Volume;
    /// A network could not be made, or one of that name has another spec.
    NetworkCreation { name: String, message: String }
        = "NETWORK_CREATION_FAILED", "Failed to create network {name}: {message}", retryable: true, Network;
    /// No network has this id or name.
    NetworkNotFound { id: String }
        = "NETWORK_NOT_FOUND", "Network {id} not found", retryable: false, Network;
    /// The network is in use, or the engine failed to remove it.
    NetworkRemove { id: String, message: String }
        = "NETWORK_REMOVE_FAILED", "Failed to remove network {id}: {message}", retryable: false, Network;
    /// The engine gave a broken reply to a health check.
    DriverHealth { message: String }
        = "DRIVER_HEALTH_CHECK_FAILED", "Driver health check failed: {message}", retryable: false, System;
    /// More was asked for than the driver has. Units: cores for `cpu`, MiB for `memory` and `disk`.
    ResourceLimit { resource: String, limit: f64, requested: f64 }
        = "RESOURCE_LIMIT_EXCEEDED", "Resource limit exceeded for {resource}: requested {requested}, limit {limit}",
          retryable: false, Resource;
    /// Credentials are missing or wrong.
    Authentication { message: String }
        = "AUTHENTICATION_FAILED", "Authentication failed: {message}", retryable: false, Authentication;
    /// The caller is known and may not do this.
    Authorization { message: String }
        = "AUTHORIZATION_FAILED", "Authorization failed: {message}", retryable: false, Authentication;
    /// The input breaks rules; all of them are in `violations`.
    Configuration { message: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")] violations: Vec<Violation> }
        = "CONFIGURATION_ERROR", "Configuration error: {message}", retryable: false, Configuration;
    /// The operation did not end by its deadline. Its outcome is unknown.
    Timeout { operation: String, ms: u64 }
        = "TIMEOUT_ERROR", "Operation {operation} timed out after {ms}ms", retryable: true, System;
    /// The engine cannot be reached, or the connection broke.
    Network { message: String }
        = "NETWORK_ERROR", "Network error: {message}", retryable: true, Network;
    /// A file or directory could not be read or written.
    FileSystem { message: String }
        = "FILE_SYSTEM_ERROR", "File system error: {message}", retryable: false, System;
    /// The image is not here, and cannot or must not be pulled.
    ImageNotFound { reference: String }
        = "IMAGE_NOT_FOUND", "Image {reference} not found", retryable: false, Container;
    /// The image could not be pulled.
    ImagePull { reference: String, message: String }
        = "IMAGE_PULL_FAILED", "Failed to pull image {reference}: {message}", retryable: true, Container;
    /// The operation is not legal in the container's status; `allowed` are the statuses in which it is.
    InvalidState { id: String, status: String, allowed: StatusList }
        = "INVALID_STATE", "Container {id} is {status}; expected {allowed}", retryable: false, Container;
    /// A process could not be started in a running container. `exitCode` as in [`Self::ContainerStart`].
    ExecStart { id: String, message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")] exit_code: Option<i32> }
        = "EXEC_START_FAILED", "Failed to start a process in container {id}: {message}", retryable: false, Container;
    /// The driver does not have this operation; see its capabilities.
    Unsupported { operation: String, driver: String }
        = "UNSUPPORTED_OPERATION", "Operation {operation} is not supported by driver {driver}", retryable: false,
          Configuration;
    /// Calls are cut off after repeated failures, until `retryAfterMs` has passed.
    CircuitOpen { operation: String, retry_after_ms: u64 }
        = "CIRCUIT_OPEN", "Circuit for {operation} is open; retry after {retry_after_ms}ms", retryable: true, System;
    /// The caller makes too many calls.
    RateLimited { operation: String, retry_after_ms: u64 }
        = "RATE_LIMITED", "Rate limit for {operation} exceeded; retry after {retry_after_ms}ms", retryable: true,
          Resource;
    /// Too many calls are in flight.
    Overloaded { operation: String, retry_after_ms: u64 }
        = "OVERLOADED", "Too many calls of {operation} in flight; retry after {retry_after_ms}ms", retryable: true,
          Resource;
    /// A bug of ours, or a reply that makes no sense.
    Internal { message: String }
        = "INTERNAL_ERROR", "Internal error: {message}", retryable: false, System;
}
