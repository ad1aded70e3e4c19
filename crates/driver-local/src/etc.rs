//! The files of `/etc` that are the driver's: `hosts`, `hostname`, `resolv.conf`.

use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use driver_types::ContainerConfig;

use crate::launch::hostname;
use crate::spec::Spec;

/// Writes the files of a container that is being made.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn write(directory: &Path, spec: &Spec) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(directory)?;
    fs::write(directory.join("hostname"), format!("{}\n", hostname(spec)))?;
    fs::write(directory.join("hosts"), hosts(spec))?;
    fs::write(directory.join("resolv.conf"), resolv_conf(spec))
}

/// What stands in `hosts` before the members of the network.
pub(crate) fn hosts(spec: &Spec) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in &spec.config.extra_hosts {
        // Writing into a String does not fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// The config's name servers, else those of the host that can be reached from the container's network: with network
/// `host` all of them, else none that is on the loopback interface.
fn resolv_conf(spec: &Spec) -> String {
    let config = &spec.config;
    if !config.dns.is_empty() {
        return config
            .dns
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
    }
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    match config.network.as_str() {
        ContainerConfig::NETWORK_NONE => String::new(),
        ContainerConfig::NETWORK_HOST => host,
        _ => host
            .lines()
            .filter(|line| !names_loopback(line))
            .map(|line| format!("{line}\n"))
            .collect(),
    }
}

fn names_loopback(line: &str) -> bool {
    let server = line.strip_prefix("nameserver").map(str::trim);
    server
        .and_then(|server| server.parse().ok())
        .is_some_and(|server: IpAddr| server.is_loopback())
}
