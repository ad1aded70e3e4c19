//! Commands on the network, with a resolver of our own: a static program must not use the C library's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::system::escape;
use crate::{Answer, Trouble, number, text};

const PATIENCE: Duration = Duration::from_millis(2000);

pub fn run(name: &str, arguments: &[&[u8]]) -> Option<Answer> {
    Some(match (name, arguments) {
        ("interfaces", []) => interfaces(),
        ("addresses", []) => addresses(),
        ("tcp-listen", [port]) => number(port).and_then(tcp_listen),
        ("udp-listen", [port]) => number(port).and_then(udp_listen),
        ("tcp-connect", [host, port, payload]) => {
            number(port).and_then(|port| reply(tcp_connect(&text(host), port, payload)?))
        }
        ("udp-send", [host, port, payload]) => {
            number(port).and_then(|port| reply(udp_send(&text(host), port, payload)?))
        }
        ("resolve", [name]) => resolve(&text(name)).map(|found| {
            let found: BTreeSet<_> = found.iter().map(ToString::to_string).collect();
            Some(found.into_iter().collect::<Vec<_>>().join(","))
        }),
        _ => return None,
    })
}

fn reply(bytes: Vec<u8>) -> Answer {
    Ok(Some(escape(&bytes)))
}

fn interfaces() -> Answer {
    let table = fs::read_to_string("/proc/net/dev")?;
    let names: BTreeSet<_> = table
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    Ok(Some(names.into_iter().collect::<Vec<_>>().join(",")))
}

/// The local addresses of the kernel's routing tables.
fn addresses() -> Answer {
    let table = fs::read_to_string("/proc/net/fib_trie")?;
    let mut found = BTreeSet::new();
    let mut last = "";
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address;
        } else if line == "/32 host LOCAL" {
            found.insert(last);
        }
    }
    Ok(Some(found.into_iter().collect::<Vec<_>>().join(",")))
}

fn tcp_listen(port: u16) -> Answer {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = &connection;
                let mut writer = &connection;
                let _ = io::copy(&mut reader, &mut writer);
            });
        }
    });
    Ok(Some(port.to_string()))
}

fn udp_listen(port: u16) -> Answer {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    });
    Ok(Some(port.to_string()))
}

/// Where the standard library has no errno for a time-out.
fn timed_out(error: io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Trouble::Word("ETIMEDOUT"),
        _ => Trouble::Io(error),
    }
}

fn first_address(host: &str) -> Result<IpAddr, Trouble> {
    resolve(host)?.first().copied().ok_or(Trouble::Word("ENONAME"))
}

fn tcp_connect(host: &str, port: u16, payload: &[u8]) -> Result<Vec<u8>, Trouble> {
    let address = SocketAddr::new(first_address(host)?, port);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(timed_out)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(payload)?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map_err(timed_out)?;
    Ok(reply)
}

fn udp_send(host: &str, port: u16, payload: &[u8]) -> Result<Vec<u8>, Trouble> {
    exchange(SocketAddr::new(first_address(host)?, port), payload)
}

fn exchange(address: SocketAddr, payload: &[u8]) -> Result<Vec<u8>, Trouble> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(payload)?;
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).map_err(timed_out)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, Trouble> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let named = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word == name).then_some(address)
    };
    let found: Vec<IpAddr> = hosts.lines().filter_map(named).filter(IpAddr::is_ipv4).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let config = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = config
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    for server in servers {
        if let Ok(found) = ask(server, name) {
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    Err(Trouble::Word("ENONAME"))
}

/// Asks a name server for A records (RFC 1035).
fn ask(server: IpAddr, name: &str) -> Result<Vec<IpAddr>, Trouble> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).map_err(|_| Trouble::Word("ENONAME"))?);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let reply = exchange(SocketAddr::new(server, 53), &query)?;
    Ok(answers(&reply, query.len()).unwrap_or_default())
}

/// The A records of a reply whose question ends at `position`.
fn answers(reply: &[u8], mut position: usize) -> Option<Vec<IpAddr>> {
    let count = u16::from_be_bytes([*reply.get(6)?, *reply.get(7)?]);
    let mut found = Vec::new();
    for _ in 0..count {
        // A name: labels up to a zero, or up to a pointer of two bytes.
        loop {
            match *reply.get(position)? {
                0 => break position += 1,
                length if length >= 0xc0 => break position += 2,
                length => position += 1 + usize::from(length),
            }
        }
        let record = reply.get(position..position + 10)?;
        let length = usize::from(u16::from_be_bytes([record[8], record[9]]));
        let data = reply.get(position + 10..position + 10 + length)?;
        if record[..2] == [0, 1] {
            found.push(IpAddr::from(<[u8; 4]>::try_from(data).ok()?));
        }
        position += 10 + length;
    }
    Some(found)
}
