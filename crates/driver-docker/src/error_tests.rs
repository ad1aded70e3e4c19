//! What engines answer, and what the contract makes of it. The Docker texts are those of 20.10, the Podman texts those
//! of 4 and 5.

use driver_types::Operation::{self, *};
use rstest::rstest;

use super::*;

fn refusal(status: u16, message: &str) -> Failure {
    Failure::Status {
        status,
        message: message.into(),
    }
}

fn verdict(error: &DriverError) -> (&'static str, bool) {
    (error.code(), error.is_retryable())
}

#[rstest]
// Create.
#[case(CreateContainer, 400, "No command specified", "CONFIGURATION_ERROR", false)]
#[case(
    CreateContainer,
    400,
    "invalid CapDrop: unknown capability: \"X\"",
    "CONFIGURATION_ERROR",
    false
)]
#[case(
    CreateContainer,
    409,
    "Conflict. The container name \"/dup\" is already in use by container \"1f\"",
    "CONTAINER_CREATION_FAILED",
    false
)]
#[case(
    CreateContainer,
    500,
    "creating container storage: the container name \"dup\" is already in use by 1f",
    "CONTAINER_CREATION_FAILED",
    false
)]
#[case(
    CreateContainer,
    500,
    "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    "CONTAINER_CREATION_FAILED",
    false
)]
#[case(
    CreateContainer,
    500,
    "invalid --security-opt 2: \"nonsense\"",
    "CONTAINER_CREATION_FAILED",
    false
)]
#[case(
    CreateContainer,
    500,
    "quota size requested but no quota support",
    "CONTAINER_CREATION_FAILED",
    false
)]
#[case(
    CreateContainer,
    500,
    "write /var/lib/docker/x: no space left on device",
    "CONTAINER_CREATION_FAILED",
    true
)]
// Start.
#[case(StartContainer, 404, "No such container: 1f", "CONTAINER_NOT_FOUND", false)]
#[case(
    StartContainer,
    404,
    "no container with name or ID \"1f\" found: no such container",
    "CONTAINER_NOT_FOUND",
    false
)]
#[case(
    StartContainer,
    404,
    "network nosuchnet not found",
    "CONTAINER_START_FAILED",
    false
)]
#[case(
    StartContainer,
    400,
    "OCI runtime create failed: exec: \"nope\": executable file not found in $PATH: unknown",
    "CONTAINER_START_FAILED",
    false
)]
#[case(
    StartContainer,
    500,
    "crun: executable file `nope` not found in $PATH: No such file or directory",
    "CONTAINER_START_FAILED",
    false
)]
#[case(
    StartContainer,
    500,
    "unable to find user nouser: no matching entries in passwd file",
    "CONTAINER_START_FAILED",
    false
)]
#[case(
    StartContainer,
    500,
    "error gathering device information while adding custom device \"/dev/x\": no such file or directory",
    "CONTAINER_START_FAILED",
    false
)]
#[case(
    StartContainer,
    500,
    "Bind for 127.0.0.1:80 failed: port is already allocated",
    "CONTAINER_START_FAILED",
    true
)]
#[case(
    StartContainer,
    500,
    "rootlessport listen tcp 127.0.0.1:80: bind: address already in use",
    "CONTAINER_START_FAILED",
    true
)]
#[case(
    StartContainer,
    500,
    "timeout waiting for containerd",
    "CONTAINER_START_FAILED",
    true
)]
// Stop and signal.
#[case(StopContainer, 404, "No such container: 1f", "CONTAINER_NOT_FOUND", false)]
#[case(
    StopContainer,
    500,
    "cannot stop container: 1f: tried to kill container, but did not receive an exit event",
    "CONTAINER_STOP_FAILED",
    true
)]
#[case(
    SignalContainer,
    409,
    "Cannot kill container: 1f: Container 1f is not running",
    "CONTAINER_STOP_FAILED",
    false
)]
#[case(
    SignalContainer,
    409,
    "can only kill running containers. 1f is in state exited: container state improper",
    "CONTAINER_STOP_FAILED",
    false
)]
// Remove.
#[case(RemoveContainer, 404, "No such container: 1f", "CONTAINER_NOT_FOUND", false)]
#[case(
    RemoveContainer,
    409,
    "You cannot remove a running container 1f. Stop the container before attempting removal or force remove",
    "CONTAINER_REMOVE_FAILED",
    false
)]
#[case(
    RemoveContainer,
    500,
    "cannot remove container 1f as it is running: container state improper",
    "CONTAINER_REMOVE_FAILED",
    false
)]
// Copy and exec.
#[case(
    CopyInto,
    404,
    "Could not find the file /nowhere in container 1f",
    "FILE_SYSTEM_ERROR",
    false
)]
#[case(
    CopyInto,
    500,
    "Error processing tar file(exit status 1): unlinkat /a/../b: outside of rootfs",
    "FILE_SYSTEM_ERROR",
    false
)]
#[case(
    CopyInto,
    403,
    "container rootfs is marked read-only",
    "FILE_SYSTEM_ERROR",
    false
)]
#[case(
    CopyFrom,
    404,
    "Could not find the file /nowhere in container 1f",
    "FILE_SYSTEM_ERROR",
    false
)]
#[case(CopyFrom, 404, "no such container", "CONTAINER_NOT_FOUND", false)]
#[case(
    Exec,
    409,
    "Container 1f is paused, unpause the container before exec",
    "EXEC_START_FAILED",
    false
)]
#[case(ExecStream, 409, "Container 1f is not running", "EXEC_START_FAILED", false)]
// The rest.
#[case(
    GetContainerLogs,
    400,
    "Bad parameters: you must choose at least one stream",
    "CONFIGURATION_ERROR",
    false
)]
#[case(
    GetContainerLogs,
    501,
    "configured logging driver does not support reading",
    "CONFIGURATION_ERROR",
    false
)]
#[case(
    PauseContainer,
    409,
    "Container 1f is already paused",
    "INTERNAL_ERROR",
    false
)]
fn of_containers(
    #[case] operation: Operation,
    #[case] status: u16,
    #[case] text: &str,
    #[case] code: &str,
    #[case] retryable: bool,
) {
    let error = container(operation, "1f", refusal(status, text));
    assert_eq!(verdict(&error), (code, retryable), "{error}");
}

#[rstest]
#[case("exec: \"nope\": executable file not found in $PATH", Some(127))]
#[case("exec: \"/nope\": stat /nope: no such file or directory", Some(127))]
#[case("crun: executable file `nope` not found in $PATH", Some(127))]
#[case("exec: \"/etc/passwd\": permission denied", Some(126))]
#[case("exec: \"/etc\": is a directory", Some(126))]
#[case("exec /bad: exec format error", Some(126))]
#[case(
    "invalid mount config: bind source path does not exist: /x: no such file or directory",
    None
)]
#[case(
    "error gathering device information: \"/dev/x\": no such file or directory",
    None
)]
#[case("port is already allocated", None)]
fn codes_of_failed_starts(#[case] text: &str, #[case] expected: Option<i32>) {
    let error = container(StartContainer, "1f", refusal(400, text));
    let driver_types::ErrorKind::ContainerStart { exit_code, .. } = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(*exit_code, expected);
}

#[rstest]
#[case(
    CreateVolume,
    400,
    "create x: includes invalid characters",
    "VOLUME_CREATION_FAILED",
    false
)]
#[case(
    CreateVolume,
    500,
    "quota size requested but no quota support",
    "VOLUME_CREATION_FAILED",
    false
)]
#[case(
    CreateVolume,
    500,
    "write /var/lib/docker/volumes/x: no space left on device",
    "VOLUME_CREATION_FAILED",
    true
)]
#[case(RemoveVolume, 404, "get x: no such volume", "VOLUME_NOT_FOUND", false)]
#[case(
    RemoveVolume,
    404,
    "no volume with name \"x\" found: no such volume",
    "VOLUME_NOT_FOUND",
    false
)]
#[case(
    RemoveVolume,
    409,
    "remove x: volume is in use - [1f]",
    "VOLUME_REMOVE_FAILED",
    false
)]
#[case(
    RemoveVolume,
    409,
    "volume x is being used by the following container(s): 1f: volume is being used",
    "VOLUME_REMOVE_FAILED",
    false
)]
#[case(
    RemoveVolume,
    500,
    "remove x: device or resource busy",
    "VOLUME_REMOVE_FAILED",
    true
)]
#[case(RemoveVolume, 501, "remove x: not implemented", "VOLUME_REMOVE_FAILED", false)]
#[case(ListVolumes, 500, "the store is closed", "INTERNAL_ERROR", true)]
fn of_volumes(
    #[case] operation: Operation,
    #[case] status: u16,
    #[case] text: &str,
    #[case] code: &str,
    #[case] retryable: bool,
) {
    let error = volume(operation, "x", refusal(status, text));
    assert_eq!(verdict(&error), (code, retryable), "{error}");
}

#[rstest]
#[case(
    CreateNetwork,
    403,
    "Pool overlaps with other one on this address space",
    "NETWORK_CREATION_FAILED",
    false
)]
#[case(
    CreateNetwork,
    409,
    "network with name x already exists",
    "NETWORK_CREATION_FAILED",
    false
)]
#[case(
    CreateNetwork,
    500,
    "subnet 10.0.0.0/8 is not supported",
    "NETWORK_CREATION_FAILED",
    false
)]
#[case(
    CreateNetwork,
    500,
    "could not find an available, non-overlapping IPv4 address pool",
    "NETWORK_CREATION_FAILED",
    true
)]
#[case(RemoveNetwork, 404, "network x not found", "NETWORK_NOT_FOUND", false)]
#[case(
    RemoveNetwork,
    404,
    "unable to find network with name or ID x: network not found",
    "NETWORK_NOT_FOUND",
    false
)]
#[case(
    RemoveNetwork,
    403,
    "error while removing network: network x has active endpoints",
    "NETWORK_REMOVE_FAILED",
    false
)]
#[case(
    RemoveNetwork,
    500,
    "failed to delete the bridge",
    "NETWORK_REMOVE_FAILED",
    true
)]
fn of_networks(
    #[case] operation: Operation,
    #[case] status: u16,
    #[case] text: &str,
    #[case] code: &str,
    #[case] retryable: bool,
) {
    let error = network(operation, "x", refusal(status, text));
    assert_eq!(verdict(&error), (code, retryable), "{error}");
}

#[rstest]
#[case(
    PullImage,
    404,
    "manifest for x:1 not found: manifest unknown: manifest unknown",
    "IMAGE_NOT_FOUND",
    false
)]
#[case(
    PullImage,
    404,
    "pull access denied for x, repository does not exist or may require 'docker login'",
    "IMAGE_NOT_FOUND",
    false
)]
#[case(
    PullImage,
    500,
    "initializing source docker://x:1: reading manifest 1 in r/x: manifest unknown",
    "IMAGE_NOT_FOUND",
    false
)]
#[case(
    PullImage,
    500,
    "Head \"https://r/v2/x/manifests/1\": unauthorized: authentication required",
    "AUTHENTICATION_FAILED",
    false
)]
#[case(
    PullImage,
    500,
    "Get \"https://r/v2/\": no basic auth credentials",
    "AUTHENTICATION_FAILED",
    false
)]
#[case(PullImage, 401, "", "AUTHENTICATION_FAILED", false)]
#[case(
    PullImage,
    500,
    "Get \"https://r/v2/\": dial tcp: connection refused",
    "IMAGE_PULL_FAILED",
    true
)]
#[case(PullImage, 400, "invalid reference format", "CONFIGURATION_ERROR", false)]
#[case(RemoveImage, 404, "No such image: x:1", "IMAGE_NOT_FOUND", false)]
#[case(
    RemoveImage,
    409,
    "conflict: unable to remove repository reference \"x:1\" (must force) - container 1f is using it",
    "CONFIGURATION_ERROR",
    false
)]
#[case(ListImages, 500, "the store is closed", "INTERNAL_ERROR", true)]
fn of_images(
    #[case] operation: Operation,
    #[case] status: u16,
    #[case] text: &str,
    #[case] code: &str,
    #[case] retryable: bool,
) {
    let error = image(operation, "x:1", refusal(status, text));
    assert_eq!(verdict(&error), (code, retryable), "{error}");
}

#[rstest]
#[case(refusal(401, "log in"), "AUTHENTICATION_FAILED", false)]
#[case(refusal(403, "denied by the plug-in"), "AUTHORIZATION_FAILED", false)]
#[case(refusal(503, "starting"), "INTERNAL_ERROR", true)]
#[case(Failure::Unreachable("no socket".into()), "NETWORK_ERROR", true)]
#[case(Failure::Broken("reset".into()), "NETWORK_ERROR", true)]
#[case(Failure::Malformed("not JSON".into()), "INTERNAL_ERROR", false)]
fn of_the_engine(#[case] failure: Failure, #[case] code: &str, #[case] retryable: bool) {
    assert_eq!(verdict(&engine(failure)), (code, retryable));
}

#[rstest]
#[case(409, "removal of container 1f is already in progress", true)]
#[case(409, "You cannot remove a running container 1f", false)]
fn removals_in_progress(#[case] status: u16, #[case] text: &str, #[case] expected: bool) {
    assert_eq!(is_removal_in_progress(&refusal(status, text)), expected);
}

#[rstest]
#[case(404, "No such image: x:1", true)]
#[case(404, "failed to find image x:1: x:1: image not known", true)]
#[case(404, "No such container: 1f", false)]
fn missing_images(#[case] status: u16, #[case] text: &str, #[case] expected: bool) {
    assert_eq!(is_no_such_image(&refusal(status, text)), expected);
}
