//! Commands on processes. Helpers of the program itself are told by their first argument.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio, exit};

use crate::system::{self, escape};
use crate::{Answer, Trouble, fail, number, pause, print, text};

const SELF: &str = "/proc/self/exe";

pub fn run(name: &str, arguments: &[&[u8]]) -> Option<Answer> {
    Some(match (name, arguments) {
        ("fork", [count, mark]) => fork(count, &text(mark)),
        ("tree", [kind, mark]) => tree(&text(kind), &text(mark)),
        ("count", [mark]) => count(mark),
        ("reap", []) => Ok(Some(system::kill_children().to_string())),
        ("zombie", [count]) => zombie(count),
        ("orphan", [count]) => orphan(count),
        ("zombies", [ms]) => zombies(ms),
        ("ps", []) => list(),
        ("signal-pid", [pid, signal]) => send(pid, &text(signal)),
        ("alloc-child", [mib]) => alloc_child(&text(mib)),
        ("pid", []) => Ok(Some(std::process::id().to_string())),
        ("ppid", []) => Ok(Some(std::os::unix::process::parent_id().to_string())),
        _ => return None,
    })
}

/// Becomes another program; does not return.
pub fn exec(argv: &[Vec<u8>]) -> ! {
    let Some((program, arguments)) = argv.split_first() else {
        exit(64)
    };
    let arguments = arguments.iter().map(|part| std::ffi::OsStr::from_bytes(part));
    let error = Command::new(std::ffi::OsStr::from_bytes(program))
        .args(arguments)
        .exec();
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    fail("exec", error.into());
    exit(code)
}

/// Runs a helper, if the arguments are one's; then does not return.
pub fn run_helper(arguments: &[Vec<u8>]) {
    let words: Vec<String> = arguments.iter().map(|part| text(part)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.get(1..).unwrap_or_default() {
        ["sleeper", mark, kind @ ..] => {
            if kind == ["ignore"] {
                for signal in [1, 2, 15] {
                    let _ = system::handle("ignore", signal, None);
                }
            }
            if kind == ["unname"] && crate::escape::unname().is_err() {
                exit(1);
            }
            if kind == ["parent"] && sleeper(mark, &[], false, false).is_err() {
                exit(1);
            }
            report_ready();
            loop {
                pause(3_600_000);
            }
        }
        // The middle of a double fork: its child is an orphan when it exits.
        ["daemonize", mark] => exit(i32::from(sleeper(mark, &[], true, false).is_err())),
        ["orphanize"] => {
            let child = Command::new(SELF)
                .arg("orphan-child")
                .stdout(Stdio::null())
                .spawn();
            child.map_or_else(|_| exit(1), |child| print(&child.id().to_string()));
            exit(0);
        }
        ["orphan-child"] => {
            let parent = std::os::unix::process::parent_id();
            for _ in 0..1000 {
                if std::os::unix::process::parent_id() != parent {
                    break;
                }
                pause(5);
            }
            exit(0);
        }
        _ => {}
    }
}

/// Tells the parent by the socket that is stdin, and closes it.
fn report_ready() {
    // SAFETY: descriptor 0 is the socket that `sleeper` gave, and nothing else in this process uses it.
    let stdin = unsafe { OwnedFd::from_raw_fd(0) };
    let _ = UnixStream::from(stdin).write_all(b".");
    // The lowest free descriptor is 0 again.
    let null = fs::File::open("/dev/null");
    std::mem::forget(null);
}

/// Starts a sleeper and waits until it sleeps.
fn sleeper(mark: &str, kind: &[&str], new_session: bool, held: bool) -> std::io::Result<Child> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(SELF);
    command
        .arg("sleeper")
        .arg(mark)
        .args(kind)
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    if !held {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    if new_session {
        // SAFETY: setsid(2) is async-signal-safe.
        unsafe { command.pre_exec(system::new_session) };
    }
    let child = command.spawn()?;
    drop(command);
    let mut ready = [0];
    ours.read_exact(&mut ready)?;
    Ok(child)
}

fn fork(count: &[u8], mark: &str) -> Answer {
    let wanted: u64 = number(count)?;
    for started in 0..wanted {
        if let Err(error) = sleeper(mark, &[], false, false) {
            fail("fork", error.into());
            return Ok(Some(started.to_string()));
        }
    }
    Ok(Some(wanted.to_string()))
}

fn tree(kind: &str, mark: &str) -> Answer {
    match kind {
        "child" => sleeper(mark, &[], false, false).map(drop)?,
        "grandchild" => sleeper(mark, &["parent"], false, false).map(drop)?,
        "setsid" => sleeper(mark, &[], true, false).map(drop)?,
        "unname" => sleeper(mark, &["unname"], false, false).map(drop)?,
        "ignore" => sleeper(mark, &["ignore"], false, false).map(drop)?,
        "held" => sleeper(mark, &[], false, true).map(drop)?,
        "daemon" => {
            if !Command::new(SELF).args(["daemonize", mark]).status()?.success() {
                return Err(Trouble::Word("EAGAIN"));
            }
        }
        _ => return Err(Trouble::Usage),
    }
    Ok(Some(kind.to_owned()))
}

/// A visible process.
struct Process {
    pid: u32,
    zombie: bool,
    argv: Vec<Vec<u8>>,
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<_> = pids.filter_map(process).collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets too.
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let zombie = matches!(stat.get(after_name + 2), Some(b'Z' | b'X'));
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let argv = if line.is_empty() {
        Vec::new()
    } else {
        line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    };
    Some(Process { pid, zombie, argv })
}

fn count(mark: &[u8]) -> Answer {
    let is_sleeper = |process: &Process| {
        !process.zombie
            && process.argv.get(1).is_some_and(|word| word == b"sleeper")
            && process.argv.get(2).is_some_and(|word| word == mark)
    };
    Ok(Some(
        processes()
            .iter()
            .filter(|process| is_sleeper(process))
            .count()
            .to_string(),
    ))
}

fn list() -> Answer {
    let processes = processes();
    print(&format!("ps={}", processes.len()));
    for process in processes {
        print(&format!(
            "proc={} {}",
            process.pid,
            escape(&process.argv.join(&b' '))
        ));
    }
    Ok(None)
}

fn gone_or_zombie(pid: u32) -> bool {
    process(pid).is_none_or(|process| process.zombie)
}

fn zombie(count: &[u8]) -> Answer {
    let wanted: u64 = number(count)?;
    for _ in 0..wanted {
        let child = Command::new(SELF).args(["exit", "0"]).spawn()?;
        while !gone_or_zombie(child.id()) {
            pause(2);
        }
    }
    Ok(Some(wanted.to_string()))
}

fn orphan(count: &[u8]) -> Answer {
    let wanted: u64 = number(count)?;
    for _ in 0..wanted {
        let output = Command::new(SELF)
            .arg("orphanize")
            .stderr(Stdio::inherit())
            .output()?;
        let orphan = text(&output.stdout)
            .trim()
            .parse()
            .map_err(|_| Trouble::Word("EAGAIN"))?;
        while !gone_or_zombie(orphan) {
            pause(2);
        }
    }
    Ok(Some(wanted.to_string()))
}

fn zombies(ms: &[u8]) -> Answer {
    let mut left: u64 = number(ms)?;
    loop {
        let zombies = processes().iter().filter(|process| process.zombie).count();
        if zombies == 0 || left == 0 {
            return Ok(Some(zombies.to_string()));
        }
        let step = left.min(5);
        pause(step);
        left -= step;
    }
}

fn send(pid: &[u8], name: &str) -> Answer {
    let signal = if name == "0" {
        0
    } else {
        system::signal_number(name)?
    };
    system::kill_process(number(pid)?, signal)?;
    Ok(Some("ok".to_owned()))
}

fn alloc_child(mib: &str) -> Answer {
    use std::os::unix::process::ExitStatusExt;
    let status = Command::new(SELF)
        .args(["alloc", mib])
        .stdout(Stdio::null())
        .status()?;
    Ok(Some(match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit {}", status.code().unwrap_or(-1)),
    }))
}
