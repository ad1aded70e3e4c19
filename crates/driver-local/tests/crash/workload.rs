//! What the containers of these tests run. Everything that is expected of a container stands in its name, so that whoever finds
//! it after a crash can judge it.

use std::ops::RangeInclusive;

use bytes::Bytes;
use driver_types::{ByteStream, ContainerConfig, ResourceLimits, SecurityOptions};
use futures_util::stream;

/// The image of all of them.
pub(crate) const IMAGE: &str = "crash/busybox:1";
/// In the environment of every workload, with the container's name: finds its processes in /proc.
pub(crate) const MARK: &str = "DRIVER_CRASH_CONTAINER";
/// A grace time that no busy machine uses up.
pub(crate) const GRACE_MS: u64 = 120_000;

/// The log files of all containers are so small that output is more than a frame, and is in several files.
pub(crate) const LOG_FILE_BYTES: u64 = 4096;
pub(crate) const LOG_FILES: u32 = 64;
/// How many lines a workload that waits writes at SIGHUP: more than two frames.
const MORE: u32 = 3000;

/// A workload: numbered lines, then an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    /// It ends by itself; else it waits for SIGTERM, writes `end`, and ends then. At SIGHUP it writes more lines.
    pub(crate) ends: bool,
    pub(crate) around: Around,
    pub(crate) lines: u32,
    pub(crate) code: u8,
}

/// What is around a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// An init, and pipes.
    Init,
    /// No init: where the shim is killed, nobody but the kernel knows the exit, and only whoever looks before the end is told.
    Nothing,
    /// An init, and a terminal.
    Terminal,
}

impl Around {
    const ALL: [(Self, &str); 3] = [
        (Self::Init, "init"),
        (Self::Nothing, "bare"),
        (Self::Terminal, "tty"),
    ];
}

impl Workload {
    pub(crate) fn ends(lines: u32, code: u8) -> Self {
        Self {
            ends: true,
            around: Around::Init,
            lines,
            code,
        }
    }

    pub(crate) fn waits(lines: u32, code: u8) -> Self {
        Self {
            ends: false,
            ..Self::ends(lines, code)
        }
    }

    pub(crate) fn with(self, around: Around) -> Self {
        Self { around, ..self }
    }

    /// The name of the container, which tells all this.
    pub(crate) fn name(self, serial: impl std::fmt::Display) -> String {
        let kind = if self.ends { "ends" } else { "waits" };
        let mut all = Around::ALL.into_iter();
        let around = all.find_map(|(around, word)| (around == self.around).then_some(word));
        let around = around.unwrap_or_default();
        format!("crash-{kind}-{around}-{}-{}-{serial}", self.lines, self.code)
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("crash-")?.split('-');
        let (ends, around) = (parts.next()? == "ends", parts.next()?);
        let mut all = Around::ALL.into_iter();
        Some(Self {
            ends,
            around: all.find_map(|(found, word)| (word == around).then_some(found))?,
            lines: parts.next()?.parse().ok()?,
            code: parts.next()?.parse().ok()?,
        })
    }

    fn script(self) -> String {
        let Self { lines, code, .. } = self;
        if self.ends {
            format!("busybox seq 1 {lines}; exit {code}")
        } else {
            // The trap first: the last line tells that it is set.
            let (next, last) = (lines + 1, lines + MORE);
            format!(
                "trap 'busybox seq {next} {last}' HUP; trap 'echo end; exit {code}' TERM; busybox seq 1 {lines}; \
                 while :; do busybox sleep 1000 & wait; done"
            )
        }
    }

    /// A line of its output.
    pub(crate) fn line(self, text: impl std::fmt::Display) -> String {
        match self.around {
            Around::Terminal => format!("{text}\r\n"),
            _ => format!("{text}\n"),
        }
    }

    fn numbers(self, numbers: RangeInclusive<u32>) -> String {
        numbers.map(|number| self.line(number)).collect()
    }

    /// The lines that it begins with.
    pub(crate) fn first(self) -> String {
        self.numbers(1..=self.lines)
    }

    /// What it writes at SIGHUP.
    pub(crate) fn more(self) -> String {
        self.numbers(self.lines + 1..=self.lines + MORE)
    }

    /// What it writes when nothing kills it.
    pub(crate) fn output(self) -> String {
        match self.ends {
            true => self.first(),
            false => self.first() + &self.line("end"),
        }
    }

    pub(crate) fn config(self, name: &str) -> ContainerConfig {
        ContainerConfig::new("crash", IMAGE)
            .name(name)
            .request_id(name)
            .env(MARK, name)
            .command(["/bin/sh", "-c", &self.script()])
            .init(self.around != Around::Nothing)
            .tty(self.around == Around::Terminal)
            .network(ContainerConfig::NETWORK_NONE)
            .resources(limits())
            .security(security())
    }
}

/// Without root there need be no cgroups, and nothing that holds a disk limit.
pub(crate) fn has_limits() -> bool {
    crate::is_root()
}

/// Without root all processes may have one id.
fn security() -> SecurityOptions {
    let writable = SecurityOptions::default().read_only(false);
    match has_limits() {
        true => writable.user("0"),
        false => writable,
    }
}

fn limits() -> ResourceLimits {
    match has_limits() {
        true => ResourceLimits::default().memory(32).disk(16),
        false => ResourceLimits::default(),
    }
}

/// The content of the image: Debian's static busybox. `None`, with the reason printed: it is not installed.
pub(crate) fn image() -> Option<Bytes> {
    let program = std::fs::read("/bin/busybox").ok().filter(|program| {
        let headers = &program[..program.len().min(4096)];
        // A dynamic program names its interpreter.
        !headers.windows(8).any(|bytes| bytes == b"ld-linux")
    });
    let Some(program) = program else {
        println!("skipped: needs a static /bin/busybox (busybox-static)");
        return None;
    };
    Some(root_tar(&program))
}

/// For an import.
pub(crate) fn stream_of(tar: Bytes) -> ByteStream {
    Box::pin(stream::iter([Ok(tar)]))
}

fn root_tar(busybox: &[u8]) -> Bytes {
    let write = || {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        for directory in ["bin/", "data/"] {
            tar.append_data(&mut header.clone(), directory, &[][..])?;
        }
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(busybox.len() as u64);
        tar.append_data(&mut header, "bin/busybox", busybox)?;
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "bin/sh", "busybox")?;
        tar.into_inner()
    };
    write().map_or_else(
        |error: std::io::Error| unreachable!("in memory: {error}"),
        Bytes::from,
    )
}
