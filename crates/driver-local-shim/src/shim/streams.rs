//! The streams of a run: FIFOs with names, or a terminal.

use std::os::fd::OwnedFd;

use driver_local_shim::{RunTask, Stage};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::directory::Directory;
use crate::failure::{At, Result};
use crate::process::Stdio;
use crate::root::Terminal;

/// Names of the FIFOs.
pub(crate) const OUT: &str = "out";
pub(crate) const ERR: &str = "err";

const PIPE_BYTES: usize = 1 << 20;

/// The container's ends, and the shim's.
pub(crate) struct Streams {
    pub(crate) container: Stdio,
    /// For an init to hold: as long as it lives, a writer is not ended by SIGPIPE when the shim is.
    pub(crate) held: Vec<OwnedFd>,
    pub(crate) shim: Ours,
}

/// The shim's ends.
pub(crate) struct Ours {
    /// Number of the stream in the log, and where it comes from. Not blocking. We could write to them too: without a
    /// writer in the container they just stay empty.
    pub(crate) sources: Vec<(u8, OwnedFd)>,
    /// Where stdin goes, until it is closed.
    pub(crate) stdin: Option<OwnedFd>,
    /// The master of the terminal and, so that it never ends, the slave.
    pub(crate) terminal: Option<Terminal>,
}

impl Streams {
    /// Makes them for a run.
    pub(crate) fn make(directory: &Directory, task: &RunTask) -> Result<Self> {
        if task.tty {
            return Self::placeholders();
        }
        let (stdin, ours) = if task.stdin {
            pipe(task.sandbox.user.is_some())?
        } else {
            (null()?, None)
        };
        let mut sources = Vec::new();
        let mut held = Vec::new();
        let mut container = Vec::new();
        for (number, name) in [(1, OUT), (2, ERR)] {
            directory.make_fifo(name)?;
            let ours = directory.open_fifo(name, OFlags::RDWR | OFlags::NONBLOCK)?;
            // A system that allows less makes it slower only.
            let _ = fcntl_setpipe_size(&ours, PIPE_BYTES);
            sources.push((number, ours));
            if task.init {
                held.push(directory.open_fifo(name, OFlags::RDWR)?);
                container.push(directory.open_fifo(name, OFlags::WRONLY)?);
            } else {
                container.push(directory.open_fifo(name, OFlags::RDWR)?);
            }
        }
        let mut container = container.into_iter();
        let (Some(stdout), Some(stderr)) = (container.next(), container.next()) else {
            unreachable!("two were pushed");
        };
        Ok(Self {
            container: Stdio {
                stdin,
                stdout,
                stderr,
            },
            held,
            shim: Ours {
                sources,
                stdin: ours,
                terminal: None,
            },
        })
    }

    /// With a terminal: the container opens it.
    fn placeholders() -> Result<Self> {
        Ok(Self {
            container: Stdio {
                stdin: null()?,
                stdout: null()?,
                stderr: null()?,
            },
            held: Vec::new(),
            shim: Ours {
                sources: Vec::new(),
                stdin: None,
                terminal: None,
            },
        })
    }
}

impl Ours {
    /// Takes the terminal that the container opened.
    pub(crate) fn set_terminal(&mut self, terminal: Terminal) -> Result<()> {
        let mut set = || -> std::io::Result<()> {
            rustix::io::ioctl_fionbio(&terminal.master, true)?;
            self.sources.push((1, terminal.master.try_clone()?));
            Ok(())
        };
        set().at(Stage::Prepare, || "the terminal")?;
        self.terminal = Some(terminal);
        Ok(())
    }
}

fn pipe(in_user_namespace: bool) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).at(Stage::Prepare, || "a pipe for stdin")?;
    if in_user_namespace {
        // It will be the container's user's. This program, who is not root, opens it again as the group's.
        rustix::fs::fchmod(&ours, Mode::from_raw_mode(0o620)).at(Stage::Prepare, || "a pipe for stdin")?;
    }
    Ok((theirs, Some(ours)))
}

/// In the place of a stream that the container opens itself.
fn null() -> Result<OwnedFd> {
    openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at(Stage::Prepare, || "/dev/null")
}
