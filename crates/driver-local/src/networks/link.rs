//! Bridges and cables, by the program `ip`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use super::book::Bridge;

/// Whether the host has an interface of this name.
pub(crate) fn exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Makes the bridge unless it is there, and lets the host forward.
pub(crate) fn ensure_bridge(bridge: &Bridge) -> io::Result<()> {
    let Bridge { name, subnet, .. } = bridge;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    if !exists(name) {
        let (gateway, prefix) = (subnet.gateway(), subnet.prefix());
        ip(&format!(
            "link add {name} type bridge\naddr add {gateway}/{prefix} dev {name}\nlink set {name} addrgenmode none up\n"
        ))?;
    }
    // Ports that are published on 127.0.0.1 are routed to the bridge; the firewall keeps members from the host.
    fs::write(format!("/proc/sys/net/ipv4/conf/{name}/route_localnet"), "1")
}

/// Removes an interface if it is there.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    match ip(&format!("link delete {name}\n")) {
        Err(_) if !exists(name) => Ok(()),
        done => done,
    }
}

/// Makes a network namespace with an interface of this address on the bridge. It lives as long as the file, and longer
/// if it has processes.
pub(crate) fn attach(bridge: &Bridge, cable: &str, address: Ipv4Addr) -> io::Result<File> {
    // A thread of its own: the namespace of a thread cannot be given back.
    let done = std::thread::scope(|scope| scope.spawn(|| enter_new(bridge, cable, address)).join());
    done.unwrap_or_else(|_| {
        Err(io::Error::other(
            "the thread that makes a network namespace was lost",
        ))
    })
}

fn enter_new(bridge: &Bridge, cable: &str, address: Ipv4Addr) -> io::Result<File> {
    let host = File::open("/proc/thread-self/ns/net")?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace = File::open("/proc/thread-self/ns/net")?;
    let (name, prefix, gateway) = (&bridge.name, bridge.subnet.prefix(), bridge.subnet.gateway());
    let host = format!("/proc/{}/fd/{}", std::process::id(), host.as_raw_fd());
    let out = if bridge.internal {
        String::new()
    } else {
        format!("route add default via {gateway}\n")
    };
    ip(&format!(
        "link set lo up\nlink add eth0 type veth peer name {cable} netns {host}\n\
         link set eth0 addrgenmode none\naddr add {address}/{prefix} dev eth0\n"
    ))?;
    let isolated = if bridge.is_default { "on" } else { "off" };
    // Back for the host's end, then in again.
    let back = File::open(&host)?;
    nix::sched::setns(&back, CloneFlags::CLONE_NEWNET)?;
    ip(&format!(
        "link set {cable} master {name} addrgenmode none up\n\
         link set {cable} type bridge_slave isolated {isolated}\n"
    ))?;
    nix::sched::setns(&namespace, CloneFlags::CLONE_NEWNET)?;
    ip(&format!("link set eth0 up\n{out}"))?;
    Ok(namespace)
}

/// Runs commands of `ip` in the namespace of this thread.
fn ip(commands: &str) -> io::Result<()> {
    run("ip", &["-batch", "-"], commands)
}

/// Runs a program of the host with this input.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("the program `{program}` cannot be run: {error}"),
            )
        })?;
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("`{program}` failed: {}", said.trim())))
}
