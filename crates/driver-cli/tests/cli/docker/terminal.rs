//! A terminal: raw mode, its size, and the modes that are there afterwards as before.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use super::engine::Engine;

/// After which a test that waits for the screen fails instead of waiting on.
const PATIENCE_MS: u16 = 60_000;

/// The program on a terminal of 33 lines with 111 characters.
struct Session {
    child: Child,
    keyboard: File,
    terminal: OwnedFd,
    seen: String,
}

impl Session {
    fn start(engine: &Engine, arguments: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 33,
            ws_col: 111,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let mut command = engine.std_command();
        command
            .args(arguments)
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        Self {
            child: command.spawn().unwrap(),
            keyboard: master.into(),
            terminal: slave,
            seen: String::new(),
        }
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until the screen has shown a text.
    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            let mut ready = [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)];
            let events = poll(&mut ready, PATIENCE_MS).unwrap();
            assert!(
                events > 0,
                "`{text}` does not come; the terminal showed: {}",
                self.seen
            );
            let read = self.keyboard.read(&mut buffer).unwrap();
            assert!(read > 0, "the terminal closed; it showed: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    fn program(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Gives the terminal another size, and tells the program, as the kernel tells a foreground process.
    fn resize(&self, ws_row: u16, ws_col: u16) {
        let size = rustix::termios::Winsize {
            ws_row,
            ws_col,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.terminal, size).unwrap();
        kill(self.program(), Signal::SIGWINCH).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ICANON)
    }

    /// The exit code. The terminal must be as it was before.
    fn end(mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        assert!(!self.is_raw(), "the terminal is left in raw mode");
        status.code()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Does nothing to a program that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn run_with_a_terminal() {
    let Some(engine) = Engine::open("tty") else { return };
    let mut session = Session::start(&engine, &["run", "--rm", "-it", &engine.image, "sh"]);
    session.wait_for("$ ");
    assert!(session.is_raw());
    session.type_keys("stty size; echo done\n");
    session.wait_for("33 111");
    // Ctrl-C is a key for the process, and not a signal for us. It goes to the terminal's foreground process, which
    // must therefore be the one that says that it is there: the shell itself goes on to its next command.
    session.type_keys("sh -c 'echo wait$((1)); exec sleep 1000'\n");
    session.wait_for("wait1");
    session.type_keys("\u{3}");
    session.wait_for("^C");
    session.type_keys("echo int=$?\n");
    session.wait_for("int=130");
    session.type_keys("exit 3\n");
    assert_eq!(session.end(), Some(3));
    assert_eq!(engine.containers(), []);
}

#[test]
fn the_process_sees_a_new_size_of_the_terminal() {
    let Some(engine) = Engine::open("resize") else {
        return;
    };
    let mut session = Session::start(&engine, &["run", "--rm", "-it", &engine.image, "sh"]);
    session.wait_for("$ ");
    session.type_keys("stty size\n");
    session.wait_for("33 111");
    session.resize(41, 97);
    session.type_keys("until [ \"$(stty size)\" = '41 97' ]; do sleep 0.1; done; echo resized$((1))\n");
    session.wait_for("resized1");
    session.type_keys("exit\n");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn exec_with_a_terminal() {
    let Some(engine) = Engine::open("exectty") else {
        return;
    };
    let name = engine.idle(&[]);
    let mut session = Session::start(&engine, &["exec", "-it", &name, "sh"]);
    session.wait_for("$ ");
    session.type_keys("stty size\n");
    session.wait_for("33 111");
    session.type_keys("exit 4\n");
    assert_eq!(session.end(), Some(4));
}

#[test]
fn detach_keys_leave_the_container_running() {
    let Some(engine) = Engine::open("detach") else {
        return;
    };
    let mut session = Session::start(
        &engine,
        &["run", "-it", "--name", "cli-detach", &engine.image, "sh"],
    );
    session.wait_for("$ ");
    session.type_keys("\u{10}\u{11}");
    assert_eq!(session.end(), Some(0));
    assert!(engine.containers()[0].status.is_alive());

    let mut session = Session::start(&engine, &["attach", "cli-detach"]);
    session.type_keys("echo again; exit 6\n");
    session.wait_for("again");
    assert_eq!(session.end(), Some(6));
}

#[test]
fn the_terminal_is_restored_when_a_signal_ends_the_run() {
    let Some(engine) = Engine::open("ttykill") else {
        return;
    };
    let script = "trap '' TERM; echo ready; while true; do sleep 0.1; done";
    let mut session = Session::start(
        &engine,
        &["run", "--rm", "-it", &engine.image, "sh", "-c", script],
    );
    session.wait_for("ready");
    let program = session.program();
    // Signals of one kind that come close together may count as one.
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGINT] {
        // It may have ended on an earlier one.
        let _ = kill(program, signal);
    }
    assert!(session.end().is_some());
    assert_eq!(engine.containers(), []);
}

#[test]
fn the_terminal_is_restored_when_the_program_is_missing() {
    let Some(engine) = Engine::open("ttymissing") else {
        return;
    };
    let session = Session::start(
        &engine,
        &["run", "--rm", "-it", &engine.image, "/nowhere/program"],
    );
    assert_eq!(session.end(), Some(127));
    let name = engine.idle(&[]);
    let session = Session::start(&engine, &["exec", "-it", &name, "/nowhere/program"]);
    assert_eq!(session.end(), Some(127));
}

#[test]
fn the_terminal_is_restored_when_the_container_is_removed() {
    let Some(engine) = Engine::open("ttygone") else {
        return;
    };
    let name = engine.idle(&[]);
    let mut session = Session::start(&engine, &["exec", "-it", &name, "sh"]);
    session.wait_for("$ ");
    assert!(session.is_raw());
    assert_eq!(engine.run(&["rm", "-f", &name]).code, 0);
    assert!(session.end().is_some_and(|code| code != 0));
}
