//! The workload program of the conformance suite: it does inside a container what its arguments say, and prints what
//! it saw. The language is described in `docs/workload.md` of this crate.
//!
//! It is not part of any library: the suite compiles it at run time with plain `rustc`, so it uses the standard
//! library and, in `system.rs` and `escape.rs`, a few functions of the C library.

mod escape;
mod files;
mod network;
mod processes;
mod resources;
mod system;
mod terminal;

use std::io;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use system::{errno_name, escape, write_all};

/// What a command may fail with.
pub enum Trouble {
    /// The kernel said no: reported as `NAME!ERRNO`.
    Io(io::Error),
    /// Reported as `NAME!WORD`.
    Word(&'static str),
    /// The arguments make no sense: the program ends.
    Usage,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The value to print; `None` prints nothing.
pub type Answer = Result<Option<String>, Trouble>;

static STRICT: AtomicBool = AtomicBool::new(false);

fn main() {
    let arguments: Vec<Vec<u8>> = system::arguments();
    processes::run_helper(&arguments);
    let mut rest: &[Vec<u8>] = arguments.get(1..).unwrap_or_default();
    while !rest.is_empty() {
        if rest[0] == b"exec" {
            processes::exec(&rest[1..]);
        }
        let end = rest.iter().position(|part| part == b",").unwrap_or(rest.len());
        if end > 0 {
            run(&rest[..end]);
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
}

fn run(command: &[Vec<u8>]) {
    let name = String::from_utf8_lossy(&command[0]).into_owned();
    let name = match name.as_str() {
        "try" => format!("try-{}", text(command.get(1).map_or(b"", |part| part))),
        _ => name,
    };
    match dispatch(&command[0], &command[1..]) {
        Ok(Some(value)) => print(&format!("{name}={value}")),
        Ok(None) => {}
        Err(Trouble::Usage) => {
            write_all(
                2,
                format!("workload: usage: {}\n", escape(&command[0])).as_bytes(),
            );
            exit(64);
        }
        Err(trouble) => fail(&name, trouble),
    }
}

/// Prints a line in one write.
pub fn print(line: &str) {
    write_all(1, format!("{line}\n").as_bytes());
}

/// Prints a failure, and ends the program if it is strict.
pub fn fail(name: &str, trouble: Trouble) {
    let word = match trouble {
        Trouble::Io(error) => errno_name(&error),
        Trouble::Word(word) => word.to_owned(),
        Trouble::Usage => "USAGE".to_owned(),
    };
    print(&format!("{name}!{word}"));
    if STRICT.load(Ordering::Relaxed) {
        exit(1);
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn number<T: std::str::FromStr>(bytes: &[u8]) -> Result<T, Trouble> {
    text(bytes).parse().map_err(|_| Trouble::Usage)
}

fn dispatch(name: &[u8], arguments: &[Vec<u8>]) -> Answer {
    let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    let name = text(name);
    match (name.as_str(), arguments.as_slice()) {
        ("out", [line]) => output(1, &[*line, b"\n"].concat()),
        ("err", [line]) => output(2, &[*line, b"\n"].concat()),
        ("raw", [stream, hex]) => output(descriptor(stream)?, &files::from_hex(hex)?),
        ("flood", [stream, bytes]) => flood(descriptor(stream)?, number(bytes)?),
        ("lines", [stream, count]) => {
            let stream = descriptor(stream)?;
            (1..=number::<u64>(count)?)
                .for_each(|line| write_all(stream, format!("line {line}\n").as_bytes()));
            Ok(None)
        }
        ("ticks", [ms, count]) => {
            for tick in 1..=number::<u64>(count)? {
                print(&format!("tick {tick}"));
                pause(number(ms)?);
            }
            Ok(None)
        }
        ("sleep", [ms]) => {
            pause(number(ms)?);
            Ok(None)
        }
        ("forever", []) => loop {
            pause(3_600_000);
        },
        ("exit", [code]) => exit(number(code)?),
        ("strict", []) => {
            STRICT.store(true, Ordering::Relaxed);
            Ok(None)
        }
        ("mark", [_]) => Ok(None),
        ("kill", [signal]) => {
            system::kill_process(std::process::id() as i32, system::signal_number(&text(signal))?)?;
            pause(20);
            Ok(Some("survived".to_owned()))
        }
        ("ignore" | "trap", [signal]) => system::handle(&name, system::signal_number(&text(signal))?, None),
        ("trap-exit", [signal, code]) => {
            system::handle("trap", system::signal_number(&text(signal))?, Some(number(code)?))
        }
        ("args", parts) => {
            print(&format!("args={}", parts.len()));
            parts
                .iter()
                .for_each(|part| print(&format!("arg={}", escape(part))));
            Ok(None)
        }
        _ => files::run(&name, &arguments)
            .or_else(|| processes::run(&name, &arguments))
            .or_else(|| resources::run(&name, &arguments))
            .or_else(|| network::run(&name, &arguments))
            .or_else(|| terminal::run(&name, &arguments))
            .or_else(|| system::run(&name, &arguments))
            .or_else(|| escape::run(&name, &arguments))
            .unwrap_or(Err(Trouble::Usage)),
    }
}

pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn descriptor(stream: &[u8]) -> Result<i32, Trouble> {
    match stream {
        b"out" => Ok(1),
        b"err" => Ok(2),
        _ => Err(Trouble::Usage),
    }
}

fn output(descriptor: i32, bytes: &[u8]) -> Answer {
    write_all(descriptor, bytes);
    Ok(None)
}

fn flood(descriptor: i32, bytes: u64) -> Answer {
    let byte = |index: u64| {
        if index % 64 == 63 {
            b'\n'
        } else {
            b'a' + (index / 64 % 26) as u8
        }
    };
    let mut index = 0;
    while index < bytes {
        let end = (index + 8192).min(bytes);
        write_all(descriptor, &(index..end).map(byte).collect::<Vec<_>>());
        index = end;
    }
    Ok(None)
}
