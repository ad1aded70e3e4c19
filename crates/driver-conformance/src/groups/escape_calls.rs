//! Escapes by system calls, cgroups and sockets.

use driver_types::Capability;

use super::escape::{ESCAPE, needs_a_kernel};
use super::security::{root, secured};
use crate::Context;
use crate::case::{CaseResult, Failure, Group};
use crate::expect;

/// System calls that a container must not get, beside those of the group `security`.
const REFUSED: [(&str, &[&str]); 5] = [
    (
        "the_new_mount_calls",
        &[
            "fsopen",
            "fsmount",
            "fsconfig",
            "open-tree",
            "move-mount",
            "mount-setattr",
            "pivot-root",
        ],
    ),
    (
        "mounts_of_cgroups_and_proc",
        &["cgroup-mount", "cgroup2-mount", "proc-mount"],
    ),
    ("namespaces_by_clone", &["clone-user"]),
    ("packet_sockets", &["packet-socket"]),
    (
        "calls_of_other_interfaces",
        &[
            "int80-keyctl",
            "int80-unshare",
            "int80-bpf",
            "int80-mount",
            "x32-keyctl",
            "x32-unshare",
        ],
    ),
];

/// Those that only newer default profiles refuse.
const NEWLY_REFUSED: [(&str, &[&str]); 2] =
    [("io_uring", &["io-uring"]), ("vsock_sockets", &["vsock-socket"])];

pub(super) fn register(group: &mut Group) {
    for (name, calls) in REFUSED {
        group
            .case(format!("refuses_{name}"), move |cx| refuses(cx, calls))
            .needs(&[Capability::Seccomp, Capability::User])
            .proves(&["7.escape", "7.seccomp"]);
    }
    for (name, calls) in NEWLY_REFUSED {
        group
            .case(format!("refuses_{name}"), move |cx| refuses(cx, calls))
            .needs(&[Capability::User])
            .needs_native(Capability::Seccomp)
            .proves(&["7.escape", "7.seccomp"]);
    }
    group
        .case("cgroups_cannot_be_written", cgroups)
        .needs(&[Capability::User])
        .proves(ESCAPE);
    group
        .case("abstract_sockets_of_the_host_are_not_there", abstract_socket)
        .proves(ESCAPE);
}

/// As root, which is what an attacker would be.
async fn refuses(cx: Context, calls: &'static [&'static str]) -> CaseResult {
    needs_a_kernel(&cx)?;
    let mut commands: Vec<&str> = Vec::new();
    calls.iter().for_each(|call| commands.extend(["try", call, ","]));
    let config = cx.config(commands).security(root());
    let output = cx.finish(&config).await?.output;
    calls
        .iter()
        .try_for_each(|call| output.expect_refused(&format!("try-{call}")))
}

/// CVE-2022-0492: the release agent is a program of the host.
async fn cgroups(cx: Context) -> CaseResult {
    for path in [
        "/sys/fs/cgroup/release_agent",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/devices/devices.allow",
        "/sys/fs/cgroup/pids/pids.max",
    ] {
        let output = cx
            .finish(&secured(
                &cx,
                ["write", path, "1", ",", "mkdir", "/sys/fs/cgroup/new"],
                root(),
            ))
            .await?
            .output;
        output.expect_refused("write")?;
        output.expect_refused("mkdir")?;
    }
    Ok(())
}

/// CVE-2020-15257.
async fn abstract_socket(cx: Context) -> CaseResult {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    needs_a_kernel(&cx)?;
    let name = cx.name("abstract");
    let broken = |error: std::io::Error| Failure::new("an abstract socket of the host", error.to_string());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).map_err(broken)?;
    let listener = UnixListener::bind_addr(&address).map_err(broken)?;
    UnixStream::connect_addr(&address).map_err(broken)?;
    let output = cx.output(["abstract", &name]).await?;
    drop(listener);
    expect::equal(
        "connection from inside",
        output.errno("abstract"),
        Some("ECONNREFUSED"),
    )
}
