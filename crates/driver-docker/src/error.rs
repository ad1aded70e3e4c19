//! From failures of the engine to the errors of the contract.
//!
//! The HTTP status decides where it can. The text is looked at only where one status stands for several things: a 404
//! of a start may be a missing network, a 500 of Podman may be a conflict.

use driver_types::{DriverError, Operation, Violation};

use crate::failure::Failure;

/// The error of an operation on a container.
pub(crate) fn container(operation: Operation, id: &str, failure: Failure) -> DriverError {
    if is_no_such_container(&failure) {
        return DriverError::container_not_found(id);
    }
    match failure {
        Failure::Status { status, .. } => {
            let message = failure.message();
            let error = match operation {
                Operation::CreateContainer => creation(&failure),
                Operation::StartContainer => start(id, &failure),
                Operation::StopContainer | Operation::SignalContainer => {
                    DriverError::container_stop(id, message).with_retryable(status >= 500)
                }
                Operation::RemoveContainer => DriverError::container_remove(id, message),
                Operation::CopyInto | Operation::CopyFrom => DriverError::file_system(message),
                Operation::Exec | Operation::ExecStream => DriverError::exec_start(id, message),
                // 501: the log driver keeps nothing that could be read.
                _ if matches!(status, 400 | 501) => DriverError::configuration(message),
                _ => DriverError::internal(message).with_retryable(status >= 500),
            };
            error.with_context("status", status)
        }
        other => transport(other),
    }
}

/// The error of an operation on a volume.
pub(crate) fn volume(operation: Operation, name: &str, failure: Failure) -> DriverError {
    let Some(status) = failure.status_code() else {
        return transport(failure);
    };
    let message = failure.message();
    let error = match operation {
        Operation::CreateVolume => DriverError::volume_creation(name, message)
            .with_retryable(status >= 500 && !is_permanent(&failure)),
        Operation::RemoveVolume if status == 404 => DriverError::volume_not_found(name),
        Operation::RemoveVolume => {
            DriverError::volume_remove(name, message).with_retryable(status >= 500 && status != 501)
        }
        _ => DriverError::internal(message).with_retryable(status >= 500),
    };
    error.with_context("status", status)
}

/// The error of an operation on a network.
pub(crate) fn network(operation: Operation, name: &str, failure: Failure) -> DriverError {
    let Some(status) = failure.status_code() else {
        return transport(failure);
    };
    let message = failure.message();
    let error = match operation {
        Operation::CreateNetwork => DriverError::network_creation(name, message)
            .with_retryable(status >= 500 && !is_permanent(&failure)),
        Operation::RemoveNetwork if status == 404 => DriverError::network_not_found(name),
        Operation::RemoveNetwork => DriverError::network_remove(name, message).with_retryable(status >= 500),
        _ => DriverError::internal(message).with_retryable(status >= 500),
    };
    error.with_context("status", status)
}

/// The error of an operation on an image.
pub(crate) fn image(operation: Operation, reference: &str, failure: Failure) -> DriverError {
    let Some(status) = failure.status_code() else {
        return transport(failure);
    };
    let message = failure.message();
    let unauthorised =
        status == 401 || failure.says("unauthorized") || failure.says("no basic auth credentials");
    let pulling = matches!(operation, Operation::PullImage | Operation::CreateContainer);
    let error = match status {
        _ if unauthorised && pulling => DriverError::authentication(message),
        _ if pulling && is_unknown_to_registry(&failure) => DriverError::image_not_found(reference),
        404 => DriverError::image_not_found(reference),
        400 => DriverError::configuration(message),
        409 => DriverError::violations(vec![
            Violation::new("/reference", message).with_hint("remove the containers that use it first"),
        ]),
        _ if pulling => DriverError::image_pull(reference, message).with_retryable(status >= 500),
        _ => DriverError::internal(message).with_retryable(status >= 500),
    };
    error.with_context("status", status)
}

/// The error of an operation on the engine itself.
pub(crate) fn engine(failure: Failure) -> DriverError {
    match failure.status_code() {
        Some(401) => DriverError::authentication(failure.message()),
        Some(403) => DriverError::authorization(failure.message()),
        Some(status) => DriverError::internal(failure.message())
            .with_retryable(status >= 500)
            .with_context("status", status),
        None => transport(failure),
    }
}

/// Whether the engine says that a container does not exist, and not something that the container needs.
pub(crate) fn is_no_such_container(failure: &Failure) -> bool {
    // Podman: `no container with name or ID "x" found: no such container`.
    failure.status_code() == Some(404) && failure.says("no such container")
}

/// Whether a name is taken. Podman answers 500.
pub(crate) fn is_name_taken(failure: &Failure) -> bool {
    failure.status_code() == Some(409) || failure.says("already in use")
}

/// Whether the engine is removing the container for somebody else.
pub(crate) fn is_removal_in_progress(failure: &Failure) -> bool {
    failure.status_code() == Some(409) && failure.says("already in progress")
}

/// Whether an image of a create or pull is unknown.
pub(crate) fn is_no_such_image(failure: &Failure) -> bool {
    failure.says("no such image") || failure.says("image not known")
}

fn is_unknown_to_registry(failure: &Failure) -> bool {
    let fragments = [
        "manifest unknown",
        "not found",
        "repository does not exist",
        "name unknown",
    ];
    fragments.iter().any(|fragment| failure.says(fragment))
}

/// Whether a refusal with a 5xx status would come again: a matter of configuration, not of the moment.
fn is_permanent(failure: &Failure) -> bool {
    let fragments = [
        "is supported only for",
        "not supported",
        "no quota support",
        "unknown",
        "invalid",
        "unable to find user",
        "unable to find group",
        "no matching entries in passwd file",
    ];
    fragments.iter().any(|fragment| failure.says(fragment))
}

fn creation(failure: &Failure) -> DriverError {
    let message = failure.message();
    match failure.status_code() {
        Some(400) => DriverError::configuration(message),
        Some(status) => DriverError::container_creation(message)
            .with_retryable(status >= 500 && !is_permanent(failure) && !is_name_taken(failure)),
        None => DriverError::container_creation(message),
    }
}

/// The start table: what the runtime says becomes the exit code that shells and Docker use for it.
fn start(id: &str, failure: &Failure) -> DriverError {
    let error = DriverError::container_start(id, failure.message());
    let says = |fragments: &[&str]| fragments.iter().any(|fragment| failure.says(fragment));
    // The port may be free later; everything else below would fail again.
    if says(&["port is already allocated", "address already in use"]) {
        return error;
    }
    if says(&[
        "executable file not found",
        "no such file or directory",
        "executable file `",
    ]) && !says(&["device", "bind source"])
    {
        return error.with_exit_code(127).permanent();
    }
    if says(&["permission denied", "is a directory", "exec format error"]) {
        return error.with_exit_code(126).permanent();
    }
    let permanent = failure.status_code().is_some_and(|status| status < 500)
        || is_permanent(failure)
        || says(&["device"]);
    error.with_retryable(!permanent)
}

/// The error of a call that the engine did not answer, or not sensibly.
fn transport(failure: Failure) -> DriverError {
    let message = failure.message();
    match failure {
        Failure::Unreachable(_) => DriverError::network(message).with_context("reached", false),
        Failure::Broken(_) => DriverError::network(message),
        Failure::Malformed(_) | Failure::Status { .. } => DriverError::internal(message),
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
