//! The host's rules for bridges: one table of nftables, written anew from the book in one transaction.

use std::fmt::Write;
use std::io;

use driver_types::PublishedPort;

use super::book::{Lease, Pages};

/// Makes the kernel's rules those of the book.
pub(crate) fn apply(pages: &Pages) -> io::Result<()> {
    super::link::run("nft", &["-f", "-"], &rules(pages))
}

/// Members reach their network and what the host reaches, but not the host, other networks, or link-local addresses,
/// where clouds keep credentials.
fn rules(pages: &Pages) -> String {
    let mut text = String::from("table inet openagent\ndelete table inet openagent\n");
    if pages.bridges.is_empty() {
        return text;
    }
    let (mut within, mut masked, mut published, mut internal) =
        (String::new(), String::new(), String::new(), String::new());
    for bridge in &pages.bridges {
        let (name, subnet) = (&bridge.name, bridge.subnet);
        // Writing into a String does not fail.
        // Also by way of the gateway.
        let verdict = if bridge.is_default { "drop" } else { "accept" };
        let _ = writeln!(within, "iifname \"{name}\" oifname \"{name}\" {verdict}");
        let _ = writeln!(masked, "ip saddr 127.0.0.0/8 oifname \"{name}\" masquerade");
        if bridge.internal {
            let _ = writeln!(internal, "iifname \"{name}\" drop\noifname \"{name}\" drop");
        } else {
            let _ = writeln!(masked, "ip saddr {subnet} oifname != \"{name}\" masquerade");
        }
    }
    for lease in &pages.leases {
        for port in &lease.ports {
            let _ = writeln!(published, "{}", forwarded(lease, port));
        }
    }
    let _ = write!(
        text,
        "table inet openagent {{
chain forward {{
type filter hook forward priority filter; policy accept;
iifname \"oa-*\" ip daddr 169.254.0.0/16 drop
{within}{internal}iifname \"oa-*\" meta nfproto ipv6 drop
oifname \"oa-*\" ct state established,related accept
iifname != \"oa-*\" oifname \"oa-*\" ct status dnat accept
oifname \"oa-*\" drop
}}
chain input {{
type filter hook input priority filter; policy accept;
iifname \"oa-*\" ct state established,related accept
iifname \"oa-*\" drop
}}
chain prerouting {{
type nat hook prerouting priority dstnat; policy accept;
{published}}}
chain output {{
type nat hook output priority -100; policy accept;
{published}}}
chain postrouting {{
type nat hook postrouting priority srcnat; policy accept;
{masked}}}
}}
"
    );
    text
}

fn forwarded(lease: &Lease, port: &PublishedPort) -> String {
    let at = match port.host_ip.as_str() {
        "0.0.0.0" => "fib daddr type local".to_owned(),
        ip => format!("ip daddr {ip}"),
    };
    let (protocol, host_port) = (port.protocol, port.host_port);
    format!(
        "iifname != \"oa-*\" {at} {protocol} dport {host_port} dnat ip to {}:{}",
        lease.address, port.container_port
    )
}
