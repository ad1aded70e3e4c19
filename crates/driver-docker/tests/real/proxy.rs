//! What stands between a driver and its engine: a port instead of a socket, or an engine that does not hear all.

use std::path::Path;

use driver_docker::Host;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// What an engine says of memory, and words as long that mean nothing.
const MEMORY: [(&str, &str); 3] = [
    (r#""OOMKilled":true"#, r#""OOMKilled":null"#),
    (r#""Action":"oom""#, r#""Action":"top""#),
    (r#""status":"oom""#, r#""status":"top""#),
];

/// The engine at a port of the loopback. It ends with the test's runtime.
pub(crate) async fn over_tcp(engine: &Host) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let engine = engine.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (reader, writer) = client.into_split();
            tokio::spawn(join(reader, writer, engine.clone(), |_| {}));
        }
    });
    Host::parse(&format!("tcp://{address}")).unwrap()
}

/// The engine at a socket, without its flag and its events of lack of memory: as one that began to listen too late.
pub(crate) fn deaf_to_memory(engine: &Host, socket: &Path) -> Host {
    let listener = UnixListener::bind(socket).unwrap();
    let engine = engine.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (reader, writer) = client.into_split();
            tokio::spawn(join(reader, writer, engine.clone(), forget_memory));
        }
    });
    Host::Unix(socket.to_owned())
}

fn forget_memory(bytes: &mut [u8]) {
    for (word, instead) in MEMORY {
        assert_eq!(word.len(), instead.len(), "the length of a reply is in its head");
        let mut at = 0;
        while let Some(found) = bytes[at..]
            .windows(word.len())
            .position(|window| window == word.as_bytes())
        {
            at += found;
            bytes[at..at + word.len()].copy_from_slice(instead.as_bytes());
        }
    }
}

async fn join(
    from_client: impl AsyncRead + Unpin,
    to_client: impl AsyncWrite + Unpin,
    engine: Host,
    change: impl FnMut(&mut [u8]),
) {
    match engine {
        Host::Unix(path) => {
            let (reader, writer) = UnixStream::connect(path).await.unwrap().into_split();
            both(from_client, to_client, reader, writer, change).await;
        }
        Host::Tcp(address) => {
            let (reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
            both(from_client, to_client, reader, writer, change).await;
        }
    }
}

/// An end of one direction is passed on: attach and exec depend on it.
async fn both(
    mut from_client: impl AsyncRead + Unpin,
    mut to_client: impl AsyncWrite + Unpin,
    mut from_engine: impl AsyncRead + Unpin,
    mut to_engine: impl AsyncWrite + Unpin,
    mut change: impl FnMut(&mut [u8]),
) {
    let requests = async {
        let _ = copy(&mut from_client, &mut to_engine).await;
        let _ = to_engine.shutdown().await;
    };
    let replies = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_engine.read(&mut buffer).await {
            change(&mut buffer[..length]);
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(requests, replies);
}
