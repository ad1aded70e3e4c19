//! Connects to published ports with real sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use driver_types::PortProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// The longest that a peer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest reply that is read.
const MAX_REPLY: u64 = 1 << 20;

/// Sends a payload to an address of this machine and returns the reply.
///
/// # Errors
///
/// Those of the socket; `TimedOut` when the peer takes more than five seconds.
pub async fn dial_host(protocol: PortProtocol, address: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    let talk = async {
        match protocol {
            PortProtocol::Tcp => {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(payload).await?;
                stream.shutdown().await?;
                let mut reply = Vec::new();
                stream.take(MAX_REPLY).read_to_end(&mut reply).await?;
                Ok(reply)
            }
            PortProtocol::Udp => {
                let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
                socket.connect(address).await?;
                socket.send(payload).await?;
                let mut reply = vec![0; 65_536];
                let length = socket.recv(&mut reply).await?;
                reply.truncate(length);
                Ok(reply)
            }
        }
    };
    tokio::time::timeout(PATIENCE, talk)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
