//! Published ports of UDP where programs in user space carry the packets: `slirp4netns` publishes none by itself, and older
//! `pasta` loses replies.
//!
//! A process holds the sockets of the host and is in the network namespace of the container, where it opens a socket for each
//! client: so a reply that comes on it is that client's. The container sees its own address as the sender.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use driver_local_shim::UdpPort;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// After so long without a datagram a client is forgotten: as the kernel forgets one behind a NAT.
const IDLE: Duration = Duration::from_secs(120);
/// How many clients are remembered at most: each has a descriptor, of which a process may have 1024.
const MAX_CLIENTS: usize = 512;
/// The longest datagram.
const MAX_DATAGRAM: usize = 64 << 10;
/// How many are taken of one socket before it is another's turn.
const TURN: usize = 64;

/// The ports of a container.
pub(crate) struct Relay {
    ports: Vec<Port>,
    clients: Vec<Client>,
    max_clients: usize,
    buffer: Vec<u8>,
}

struct Port {
    /// Of the host.
    socket: UdpSocket,
    /// In the container.
    to: SocketAddrV4,
}

/// Whoever has sent something lately.
struct Client {
    /// The index of the port.
    port: usize,
    address: SocketAddr,
    /// In the container's namespace, connected to its server.
    socket: UdpSocket,
    used: Instant,
}

impl Relay {
    /// Takes the ports of the host.
    ///
    /// # Errors
    ///
    /// Those of the kernel, with the port.
    pub(crate) fn bind(ports: &[UdpPort], container: Ipv4Addr) -> io::Result<Self> {
        let bind = |port: &UdpPort| {
            let bound = UdpSocket::bind(port.host).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            let socket = bound.map_err(|error| {
                io::Error::new(error.kind(), format!("port {}/udp is taken: {error}", port.host))
            })?;
            let to = SocketAddrV4::new(container, port.container);
            io::Result::Ok(Port { socket, to })
        };
        Ok(Self {
            ports: ports.iter().map(bind).collect::<io::Result<_>>()?,
            clients: Vec::new(),
            max_clients: MAX_CLIENTS,
            buffer: vec![0; MAX_DATAGRAM],
        })
    }

    /// The sockets of the host.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ports.iter().map(|port| port.socket.as_fd())
    }

    /// Carries datagrams in both directions, for ever.
    pub(crate) fn serve(mut self) -> ! {
        loop {
            let idle = self.clients.iter().map(|client| client.used + IDLE).min();
            let wait = idle.map(|end| end.saturating_duration_since(Instant::now()));
            self.turn(wait);
            self.forget(Instant::now());
        }
    }

    /// Waits for datagrams, and carries them. What cannot be delivered is lost, as UDP has it.
    fn turn(&mut self, wait: Option<Duration>) {
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let ports = self.ports.iter().map(|port| &port.socket);
        let sockets = ports.chain(self.clients.iter().map(|client| &client.socket));
        let mut fds: Vec<PollFd<'_>> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        // A signal, or no memory: the next turn may find some.
        if poll(&mut fds, wait.as_ref()).is_err() {
            return;
        }
        let ready: Vec<usize> = fds
            .iter()
            .enumerate()
            .filter_map(|(index, fd)| (!fd.revents().is_empty()).then_some(index))
            .collect();
        // Replies first: a datagram of a new client may take the place of a client.
        for index in ready.into_iter().rev() {
            match index.checked_sub(self.ports.len()) {
                Some(client) => self.reply(client),
                None => self.deliver(index),
            }
        }
    }

    /// To the container.
    fn deliver(&mut self, port: usize) {
        for _ in 0..TURN {
            let Ok((count, address)) = self.ports[port].socket.recv_from(&mut self.buffer) else {
                return;
            };
            if let Ok(index) = self.client(port, address) {
                let client = &mut self.clients[index];
                client.used = Instant::now();
                let _ = client.socket.send(&self.buffer[..count]);
            }
        }
    }

    /// To the client.
    fn reply(&mut self, index: usize) {
        let client = &mut self.clients[index];
        for _ in 0..TURN {
            // An error may be the answer to what was sent: nobody listens. The next read tells whether there is more.
            match client.socket.recv(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
                Ok(count) => {
                    client.used = Instant::now();
                    let port = &self.ports[client.port].socket;
                    let _ = port.send_to(&self.buffer[..count], client.address);
                }
            }
        }
    }

    fn client(&mut self, port: usize, address: SocketAddr) -> io::Result<usize> {
        let known = |client: &Client| client.port == port && client.address == address;
        if let Some(index) = self.clients.iter().position(known) {
            return Ok(index);
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(self.ports[port].to)?;
        socket.set_nonblocking(true)?;
        let client = Client {
            port,
            address,
            socket,
            used: Instant::now(),
        };
        let eldest = (0..self.clients.len()).min_by_key(|index| self.clients[*index].used);
        match eldest {
            Some(eldest) if self.clients.len() >= self.max_clients => {
                self.clients[eldest] = client;
                Ok(eldest)
            }
            _ => {
                self.clients.push(client);
                Ok(self.clients.len() - 1)
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        self.clients
            .retain(|client| now.saturating_duration_since(client.used) < IDLE);
    }
}

#[cfg(test)]
mod tests;
