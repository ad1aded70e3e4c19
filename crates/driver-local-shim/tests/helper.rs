//! The program that gives a container its network: how long it lives, and what the container cannot reach. The program is a
//! shell here, which makes no network.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::lchown;
use std::path::Path;

use common::{Place, Shim, lacks_busybox, skipped, until};
use driver_local_shim::{
    IdMap, NetworkHelper, NetworkNamespace, Report, RunTask, Stage, Task, UdpPort, UserNamespace,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Who runs the shim: the caller, or for root `nobody`.
fn user() -> u32 {
    let own = nix::unistd::geteuid();
    if own.is_root() { 65534 } else { own.as_raw() }
}

fn own(path: &Path) {
    lchown(path, Some(user()), Some(user())).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path)
            .unwrap()
            .flatten()
            .for_each(|entry| own(&entry.path()));
    }
}

fn place() -> Place {
    let place = Place::new();
    own(place.temp.path());
    place
}

/// A container whose helper is this script. The script's argument is the file in which it writes its pid.
fn task(place: &Place, helper: &str, script: &str) -> RunTask {
    let map = |outside| IdMap {
        inside: 0,
        outside,
        count: 1,
    };
    let mut task = place.script(script);
    task.sandbox.user = Some(UserNamespace {
        uids: vec![map(user())],
        gids: vec![map(user())],
        by_helpers: false,
    });
    task.sandbox.network = NetworkNamespace::Helper(NetworkHelper {
        program: "/bin/busybox".to_owned(),
        arguments: ["sh", "-c", helper, "{pid}", &place.text("container/helper-pid")]
            .map(str::to_owned)
            .to_vec(),
        address: Ipv4Addr::LOCALHOST,
        udp_ports: Vec::new(),
        unreachable: vec![
            (Ipv4Addr::new(169, 254, 0, 0), 16),
            (Ipv4Addr::new(192, 0, 2, 1), 32),
        ],
    });
    task
}

const STAYS: &str = "echo $$ > $1; echo up >&0; exec sleep 1000";

fn started(task: RunTask) -> (Shim, i32) {
    let mut shim = Shim::idle_as(user()).with(&Task::Run(Box::new(task)));
    match shim.report() {
        Report::Started { init_pid, .. } => (shim, init_pid),
        other => panic!("{other:?}"),
    }
}

fn helper_of(place: &Place) -> i32 {
    let pid = fs::read_to_string(place.directory().join("helper-pid")).unwrap();
    fs::remove_file(place.directory().join("helper-pid")).unwrap();
    pid.trim().parse().unwrap()
}

fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn it_ends_with_the_container_and_before_the_end_is_told() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    // Flags 1, 4 and 0x200: up, a host, refused. The numbers are those of the addresses, in the order of the network.
    let script = "grep -c -E '^[*][[:space:]]+(0000FEA9|010200C0)[[:space:]]+00000000[[:space:]]+020[15]' /proc/net/route; \
                  ip addr show lo | grep -c LOOPBACK,UP";
    let (shim, _) = started(task(&place, STAYS, script));
    let helper = helper_of(&place);
    let ended = place.end(shim);
    assert_eq!(ended.out, "2\n1\n", "{ended:?}");
    assert!(is_gone(helper));
    // Whoever waits for it takes it away.
    assert!(!place.directory().join("helper.lock").exists());
    place.nothing_left();
}

#[test]
fn it_goes_on_when_the_shim_is_killed_and_still_ends_with_the_container() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let (mut shim, init) = started(task(&place, STAYS, "sleep 1000"));
    let helper = helper_of(&place);
    shim.child.kill().unwrap();
    shim.child.wait().unwrap();
    assert!(!is_gone(helper), "it lives as long as the container");
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    until("the end of the helper", || is_gone(helper));
}

#[test]
fn a_helper_whose_guard_is_killed_does_not_stay() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let (_shim, init) = started(task(&place, STAYS, "sleep 1000"));
    let helper = helper_of(&place);
    let stat = fs::read_to_string(format!("/proc/{helper}/stat")).unwrap();
    let guard = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    kill(Pid::from_raw(guard.parse().unwrap()), Signal::SIGKILL).unwrap();
    until("the end of the helper", || is_gone(helper));
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
}

#[test]
fn what_it_says_when_it_gives_no_network_is_the_failure() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let task = task(
        &place,
        "echo no interface >&2; echo leads out >&2; exit 1",
        "true",
    );
    let mut shim = Shim::idle_as(user()).with(&Task::Run(Box::new(task)));
    let message = match shim.report() {
        Report::Failed {
            stage: Stage::Namespaces,
            message,
            ..
        } => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message, "/bin/busybox gives no network: no interface; leads out");
    shim.child.wait().unwrap();
    place.nothing_left();
}

/// Whoever can make it talk must not fill the memory of the host by that.
#[test]
fn what_it_says_later_is_kept_nowhere() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let talks = "echo $$ > $1; echo up >&0; until [ -e $1-go ]; do usleep 1000; done; \
                 for i in $(seq 2000); do echo words >&2; done; : > $1-done; exec sleep 1000";
    let (_shim, init) = started(task(&place, talks, "sleep 1000"));
    let helper = helper_of(&place);
    fs::write(place.directory().join("helper-pid-go"), "").unwrap();
    let done = place.directory().join("helper-pid-done");
    until("the end of its words", || done.exists());
    assert!(!is_gone(helper));
    let kept = fs::metadata(format!("/proc/{helper}/fd/2")).unwrap();
    assert_eq!(kept.len(), 0);
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    until("the end of the helper", || is_gone(helper));
}

/// The task with a port of UDP published.
fn published(place: &Place) -> (RunTask, SocketAddrV4) {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free.port());
    let mut task = task(place, STAYS, "sleep 1000");
    if let NetworkNamespace::Helper(helper) = &mut task.sandbox.network {
        helper.udp_ports.push(UdpPort {
            host,
            container: 7000,
        });
    }
    (task, host)
}

/// Sends back what comes to the port of the container, by a thread in its namespace.
fn echo(init: i32) {
    let namespace = fs::File::open(format!("/proc/{init}/ns/net")).unwrap();
    let (ready, begun) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), network).unwrap();
        let server = UdpSocket::bind("127.0.0.1:7000").unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 10];
        while let Ok((count, client)) = server.recv_from(&mut buffer) {
            server.send_to(&buffer[..count], client).unwrap();
        }
    });
    begun.recv().unwrap();
}

fn is_answered(client: &UdpSocket) -> bool {
    let mut buffer = [0; 10];
    client.send(b"ping").is_ok()
        && client
            .recv(&mut buffer)
            .is_ok_and(|count| &buffer[..count] == b"ping")
}

#[test]
fn published_datagrams_come_back_without_a_shim_and_the_port_is_free_after_the_end() {
    // The server that is put into the container takes root.
    if skipped() {
        return;
    }
    let place = place();
    let (task, host) = published(&place);
    let (mut shim, init) = started(task);
    echo(init);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(std::time::Duration::from_millis(50)))
        .unwrap();
    client.connect(host).unwrap();
    until("an answer", || is_answered(&client));
    UdpSocket::bind(host).expect_err("the port is taken");
    shim.child.kill().unwrap();
    shim.child.wait().unwrap();
    until("an answer without a shim", || is_answered(&client));
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    until("a free port", || UdpSocket::bind(host).is_ok());
}

#[test]
fn a_published_port_is_free_before_the_end_is_told() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let (task, host) = published(&place);
    let (shim, init) = started(task);
    let _ = helper_of(&place);
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    place.end(shim);
    UdpSocket::bind(host).unwrap();
    place.nothing_left();
}

#[test]
fn a_port_that_is_taken_is_the_failure() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let (task, host) = published(&place);
    let _taken = UdpSocket::bind(host).unwrap();
    let mut shim = Shim::idle_as(user()).with(&Task::Run(Box::new(task)));
    match shim.report() {
        Report::Failed { message, .. } => {
            assert!(
                message.contains(&format!("port {host}/udp is taken")),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
    shim.child.wait().unwrap();
    place.nothing_left();
}
