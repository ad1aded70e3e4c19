//! Output into the log, stdin and terminals by `shim.sock`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use common::{Place, Shim, kill, skipped, until};
use driver_local_shim::{attach, close_stdin};
use rstest::rstest;

/// Every byte arrives, in order, however fast it comes; files are begun anew by size and the oldest deleted.
#[rstest]
#[case::all_kept(64 << 20, 4, 30_000_000)]
#[case::small_files(100_000, 1000, 3_000_000)]
fn a_flood_of_output(#[case] max_file_bytes: u64, #[case] max_files: u32, #[case] bytes: usize) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script(&format!("yes 0123456789abcde | head -c {bytes}"));
    task.log.max_file_bytes = max_file_bytes;
    task.log.max_files = max_files;
    let ended = place.run(task);
    ended.code(0);
    assert_eq!(ended.out.len(), bytes);
    assert!(ended.out.lines().all(|line| line == "0123456789abcde"));
    for file in place.log_files() {
        let size = fs::metadata(&file).unwrap();
        assert!(size.len() <= max_file_bytes, "{} bytes", size.len());
        assert_eq!(size.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn the_oldest_files_go() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("seq 1 100000");
    task.log.max_file_bytes = 10_000;
    task.log.max_files = 3;
    let ended = place.run(task);
    assert!(ended.out.ends_with("\n99999\n100000\n"));
    assert!(ended.out.len() < 30_000);
    assert_eq!(place.log_files().len(), 3);
}

#[test]
fn stdin_is_reached_by_the_socket() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("while read line; do echo got $line; done; echo end");
    task.stdin = true;
    let (shim, _) = Shim::start(task);
    let mode = fs::metadata(place.directory().join("shim.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for word in ["one", "two"] {
        let mut stdin = File::from(attach(&place.directory()).unwrap());
        stdin.write_all(format!("{word}\n").as_bytes()).unwrap();
    }
    until("two lines", || place.log().0 == "got one\ngot two\n");
    close_stdin(&place.directory()).unwrap();
    let ended = place.end(shim);
    assert_eq!(ended.out, "got one\ngot two\nend\n");
    let error = attach(&place.directory()).expect_err("no shim runs");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn stdin_that_is_not_open_or_closed() {
    if skipped() {
        return;
    }
    let place = Place::new();
    // Its stdin is empty.
    let (shim, pid) = Shim::start(place.script("cat; readlink /proc/self/fd/0; sleep 1000"));
    until("cat", || place.log().0 == "/dev/null\n");
    let error = attach(&place.directory()).expect_err("no stdin");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    close_stdin(&place.directory()).unwrap();
    kill(pid, 9);
    place.end(shim);
}

/// Clients that say nothing, nonsense, or too much hold nobody up.
#[test]
fn strange_clients() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("cat");
    task.stdin = true;
    let (shim, _) = Shim::start(task);
    let socket = place.directory().join("shim.sock");
    let silent: Vec<_> = (0..10).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for request in [[9, 9].as_slice(), &[1, 77], &[1, 1, 1, 1, 1, 1, 1]] {
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(request).unwrap();
    }
    let mut stdin = File::from(attach(&place.directory()).unwrap());
    stdin.write_all(b"still here\n").unwrap();
    until("the line", || place.log().0 == "still here\n");
    drop(stdin);
    close_stdin(&place.directory()).unwrap();
    place.end(shim).code(0);
    drop(silent);
}

#[rstest]
#[case(true)]
#[case(false)]
fn a_terminal(#[case] init: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let script = "stty -echo; readlink /proc/self/fd/0; [ -t 1 ] && echo terminal; stat -c '%F %U %a' /dev/console $(readlink /proc/self/fd/0); \
                  trap 'stty size; echo resized' WINCH; echo ready; while [ \"$x\" != bye ]; do read x; [ -z \"$x\" ] || echo got $x; done; cat; echo ended";
    let mut task = place.script(script);
    task.tty = true;
    task.stdin = true;
    task.init = init;
    task.process.rights.identity.user = "1000".to_owned();
    let (shim, _) = Shim::start(task);
    until("ready", || place.log().0.contains("ready"));
    let mut terminal = File::from(attach(&place.directory()).unwrap());
    let size = rustix::termios::Winsize {
        ws_row: 33,
        ws_col: 44,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&terminal, size).unwrap();
    terminal.write_all(b"\n").unwrap();
    until("the new size", || place.log().0.contains("33 44\r\nresized"));
    terminal.write_all(b"a line\n").unwrap();
    until("the line", || place.log().0.contains("got a line\r\n"));
    terminal.write_all(b"bye\n").unwrap();
    until("the end of the lines", || place.log().0.contains("got bye\r\n"));
    close_stdin(&place.directory()).unwrap();
    let ended = place.end(shim);
    assert!(ended.out.starts_with("/dev/pts/0\r\nterminal\r\n"), "{ended:?}");
    assert_eq!(
        ended.out.matches("character special file ada 620").count(),
        2,
        "{ended:?}"
    );
    assert!(ended.out.ends_with("ended\r\n"), "{ended:?}");
    assert_eq!(ended.err, "");
    ended.code(0);
    place.nothing_left();
}

/// The end of the session does not take what the program wrote last.
#[rstest]
#[case(true)]
#[case(false)]
fn the_last_words_on_a_terminal(#[case] init: bool) {
    if skipped() {
        return;
    }
    for _ in 0..5 {
        let place = Place::new();
        let mut task = place.script("stty -opost; seq 1 2000");
        task.tty = true;
        task.init = init;
        let ended = place.run(task);
        assert!(ended.out.ends_with("\n1999\n2000\n"), "{} bytes", ended.out.len());
        assert_eq!(ended.out.lines().count(), 2000);
    }
}

/// A killed shim takes nothing with it: the program is not ended by a broken pipe, and what it wrote stays in the FIFOs.
#[rstest]
#[case(true)]
#[case(false)]
fn a_killed_shim(#[case] init: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let marker = place.temp.path().join("volume");
    fs::create_dir(&marker).unwrap();
    let mut task = place.script(
        "echo before; while [ ! -e /vol/go ]; do sleep 0.01; done; echo after; touch /vol/done; sleep 1000",
    );
    task.init = init;
    task.sandbox.mounts.push(driver_local_shim::Mount {
        target: "/vol".to_owned(),
        source: driver_local_shim::MountSource::Bind(marker.to_str().unwrap().to_owned()),
        read_only: false,
    });
    let (mut shim, pid) = Shim::start(task);
    until("output", || place.log().0 == "before\n");
    shim.child.kill().unwrap();
    shim.child.wait().unwrap();
    let lock = File::open(place.directory().join("shim.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .expect("a dead shim holds no lock");
    fs::write(marker.join("go"), "").unwrap();
    until("the program to go on", || marker.join("done").exists());
    let mut left = [0; 100];
    let out = rustix::fs::open(
        place.directory().join("out"),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let length = rustix::io::read(&out, &mut left).unwrap();
    assert_eq!(&left[..length], b"after\n");
    kill(pid, 9);
    until("the end", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}
