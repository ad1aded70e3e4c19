//! The loopback interface of a new network namespace.

use std::io;

use crate::netlink;

const RTM_NEWLINK: u16 = 16;
const IFF_UP: u32 = 1;
/// The kernel numbers it so in each namespace.
const LOOPBACK: i32 = 1;

/// Sets it up, by one message to the kernel.
pub(crate) fn up() -> io::Result<()> {
    // `ifinfomsg`.
    let mut body = vec![0; 4];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    netlink::ask(RTM_NEWLINK, 0, &body)
}
