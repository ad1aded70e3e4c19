//! The guard with one socket for commands and reports, as `driver-local` runs it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Program};

use driver_exec_guard::{Command, Decoder, Frame, Report, VERSION};

/// Starts a guard on one end of a socket; the other end is ours.
fn start(options: &[&str], argv: &[&str]) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let process = Program::new(env!("CARGO_BIN_EXE_guard"))
        .args(options)
        .arg("--")
        .args(argv)
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    (process, ours)
}

fn send(mut socket: &UnixStream, commands: &[Command]) {
    let mut wire = Vec::new();
    commands.iter().for_each(|command| command.encode(&mut wire));
    socket.write_all(&wire).unwrap();
}

/// All reports up to the end of the stream.
fn reports(mut socket: &UnixStream) -> Vec<Report> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    std::iter::from_fn(|| decoder.decode().unwrap()).collect()
}

#[test]
fn both_directions_share_it() {
    let (mut process, socket) = start(&["--stdin"], &["cat"]);
    let data = vec![7; 32 * 1024];
    send(
        &socket,
        &[
            Command::Stdin(data.clone()),
            Command::Stdin(data.clone()),
            Command::CloseStdin,
        ],
    );
    let reports = reports(&socket);
    assert_eq!(reports[..2], [Report::Hello(VERSION), Report::Started]);
    let output = reports.iter().filter_map(|report| match report {
        Report::Stdout(data) => Some(data.as_slice()),
        _ => None,
    });
    assert_eq!(output.collect::<Vec<_>>().concat(), [data.clone(), data].concat());
    assert_eq!(reports.last(), Some(&Report::End));
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_half_closed_socket_ends_the_tree() {
    let (mut process, socket) = start(&[], &["sleep", "1000"]);
    socket.shutdown(Shutdown::Write).unwrap();
    process.wait().unwrap();
    let reports = reports(&socket);
    assert_eq!(
        reports,
        [Report::Hello(VERSION), Report::Started],
        "nobody listens to the rest"
    );
}

#[test]
fn a_closed_socket_ends_the_tree() {
    let (mut process, socket) = start(&[], &["sleep", "1000"]);
    drop(socket);
    assert_eq!(process.wait().unwrap().code(), Some(143));
}
