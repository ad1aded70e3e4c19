//! Datagrams between sockets of this machine.

use super::*;

/// A relay with one port, its address, and the server behind it.
fn relay() -> (Relay, SocketAddr, UdpSocket) {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = UdpPort {
        host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        container: server.local_addr().expect("an address").port(),
    };
    let relay = Relay::bind(&[port], Ipv4Addr::LOCALHOST).expect("a free port");
    let address = relay.ports[0].socket.local_addr().expect("an address");
    (relay, address, server)
}

fn client(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(address).expect("an address");
    socket
}

fn received(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 100];
    let (count, from) = socket.recv_from(&mut buffer).expect("a datagram");
    (String::from_utf8_lossy(&buffer[..count]).into_owned(), from)
}

#[test]
fn each_client_gets_its_own_replies() {
    let (mut relay, address, server) = relay();
    let clients = ["one", "two"].map(|name| {
        let client = client(address);
        client.send(name.as_bytes()).expect("sent");
        relay.turn(None);
        client
    });
    let asked = [received(&server), received(&server)];
    // The later one first.
    for (name, from) in asked.iter().rev() {
        server.send_to(name.as_bytes(), from).expect("sent");
        relay.turn(None);
    }
    assert_eq!(clients.map(|client| received(&client).0), ["one", "two"]);
    assert_eq!(relay.clients.len(), 2);
}

#[test]
fn a_client_that_is_known_keeps_its_socket_and_an_empty_datagram_is_one() {
    let (mut relay, address, server) = relay();
    let client = client(address);
    for word in ["first", "", "third"] {
        client.send(word.as_bytes()).expect("sent");
        relay.turn(None);
    }
    let from: Vec<_> = ["first", "", "third"]
        .into_iter()
        .map(|word| {
            let (text, from) = received(&server);
            assert_eq!(text, word);
            from
        })
        .collect();
    assert!(from.iter().all(|other| other == &from[0]), "{from:?}");
}

#[test]
fn the_one_that_was_silent_longest_makes_room() {
    let (mut relay, address, server) = relay();
    relay.max_clients = 2;
    let clients = [(); 3].map(|()| client(address));
    for client in &clients {
        client.send(b"here").expect("sent");
        relay.turn(None);
        received(&server);
    }
    let known = |index: usize| {
        let address = clients[index].local_addr().expect("an address");
        relay.clients.iter().any(|client| client.address == address)
    };
    assert_eq!([known(0), known(1), known(2)], [false, true, true]);
}

#[test]
fn silent_clients_are_forgotten() {
    let (mut relay, address, _server) = relay();
    client(address).send(b"here").expect("sent");
    relay.turn(None);
    let begin = Instant::now();
    relay.forget(begin);
    assert_eq!(relay.clients.len(), 1);
    relay.forget(begin + IDLE);
    assert!(relay.clients.is_empty());
}

#[test]
fn where_nobody_listens_yet_the_next_datagram_arrives() {
    let (mut relay, address, server) = relay();
    let place = server.local_addr().expect("an address");
    drop(server);
    let client = client(address);
    client.send(b"lost").expect("sent");
    relay.turn(None);
    // The refusal.
    relay.turn(None);
    let server = UdpSocket::bind(place).expect("the port is free again");
    client.send(b"heard").expect("sent");
    relay.turn(None);
    assert_eq!(received(&server).0, "heard");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let SocketAddr::V4(host) = taken.local_addr().expect("an address") else {
        panic!("an address of IPv4");
    };
    let port = UdpPort { host, container: 1 };
    let error = Relay::bind(&[port], Ipv4Addr::LOCALHOST)
        .err()
        .expect("refused")
        .to_string();
    assert!(error.starts_with(&format!("port {host}/udp is taken")), "{error}");
}
