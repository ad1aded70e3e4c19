//! Routes of a new network namespace to what its processes must not reach.

use std::io;
use std::net::Ipv4Addr;

use crate::netlink;

const RTM_NEWROUTE: u16 = 24;
/// Made, or put in the place of an equal one.
const CREATE_OR_REPLACE: u16 = 0x400 | 0x100;
const AF_INET: u8 = 2;
const MAIN_TABLE: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const EVERYWHERE: u8 = 0;
/// Who sends there gets EHOSTUNREACH.
const UNREACHABLE: u8 = 7;
const RTA_DST: u16 = 1;

/// Refuses packets to these addresses, each with the length of its prefix.
pub(crate) fn refuse(networks: &[(Ipv4Addr, u8)]) -> io::Result<()> {
    networks.iter().try_for_each(|(address, prefix)| {
        netlink::ask(RTM_NEWROUTE, CREATE_OR_REPLACE, &body(*address, *prefix))
    })
}

/// `rtmsg` and its one attribute.
fn body(address: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mut body = vec![
        AF_INET,
        prefix,
        0,
        0,
        MAIN_TABLE,
        PROTOCOL_STATIC,
        EVERYWHERE,
        UNREACHABLE,
    ];
    body.extend([0; 4]);
    body.extend(8_u16.to_ne_bytes());
    body.extend(RTA_DST.to_ne_bytes());
    body.extend(address.octets());
    body
}
