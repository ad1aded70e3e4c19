//! Asking the kernel to change interfaces and routes of this process's network namespace.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

const NLMSG_ERROR: u16 = 2;
const REQUEST_WITH_ACK: u16 = 1 | 4;

/// Sends one message of this type and waits for the kernel's answer. `flags` come beside those of a request.
pub(crate) fn ask(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    // Protocol 0 of netlink is that of interfaces and routes.
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sendto(
        &socket,
        &request(kind, flags, body),
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    let field = |at: usize| {
        answer[..length]
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
    };
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    match field(16).map(i32::from_ne_bytes) {
        Some(0) if kind == NLMSG_ERROR => Ok(()),
        Some(error) if kind == NLMSG_ERROR => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "an answer that is none",
        )),
    }
}

/// `nlmsghdr`, then the body.
fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST_WITH_ACK | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}
