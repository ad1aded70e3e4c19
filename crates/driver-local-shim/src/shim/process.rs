//! The step from a process that has entered a container to the program that it runs.

mod identity;
mod privileges;
mod program;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use driver_local_shim::{Process, Rights, Stage};
use nix::sys::signal::SigSet;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{At, Failure, Result};
use crate::inside;

pub(crate) use identity::Ids;
pub(crate) use privileges::{Bounds, bound};

/// Docker's limits of open files: some programs touch as many as they may have.
const OPEN_FILES: [u64; 2] = [1024, 524_288];

/// Stdin, stdout and stderr of a process.
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

impl Stdio {
    /// Makes them this process's. They belong to the user as files too, as with Docker, so that a program can open
    /// /dev/stdout.
    pub(crate) fn install(&self, ids: &Ids) -> Result<()> {
        let install = || {
            for stream in [&self.stdin, &self.stdout, &self.stderr] {
                if is_stream(stream)? {
                    rustix::fs::fchown(stream, Some(ids.uid), None)?;
                }
            }
            rustix::stdio::dup2_stdin(&self.stdin)?;
            rustix::stdio::dup2_stdout(&self.stdout)?;
            rustix::stdio::dup2_stderr(&self.stderr)
        };
        install().at(Stage::Prepare, || "the standard streams")
    }
}

/// Whether it is a pipe or a terminal, and not /dev/null.
fn is_stream(fd: &OwnedFd) -> rustix::io::Result<bool> {
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    Ok(kind == rustix::fs::FileType::Fifo || rustix::termios::isatty(fd))
}

/// Opens the root of this process, once it has entered a container.
pub(crate) fn own_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/", flags, Mode::empty()).at(Stage::Root, || "/")
}

/// Looks up as whom a process runs.
pub(crate) fn identify(rights: &Rights) -> Result<Ids> {
    identity::resolve(own_root()?, &rights.identity)
}

/// Gives this process its limits, and the user with what the bounds leave to it. All descriptors to the outside are closed or
/// close on exec.
pub(crate) fn confine(bounds: Bounds, ids: &Ids) -> Result<()> {
    limit_open_files().at(Stage::Privileges, || "limit of open files")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    privileges::become_user(ids, bounds)
}

/// Never more than this process may have itself: raising that needs a right which not every root has.
fn limit_open_files() -> rustix::io::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let [current, maximum] = OPEN_FILES.map(|limit| Some(limit.min(most)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum })
}

/// Becomes the program of `process`. Comes back only where that fails.
pub(crate) fn execute(process: &Process, ids: &Ids) -> Failure {
    match SigSet::empty()
        .thread_set_mask()
        .at(Stage::Exec, || "signal mask")
    {
        Ok(()) => program::execute(process, &environment(process, ids)),
        Err(failure) => failure,
    }
}

/// The environment of `process`, with a HOME.
pub(crate) fn environment(process: &Process, ids: &Ids) -> Vec<String> {
    let mut environment = process.env.clone();
    if !environment.iter().any(|variable| variable.starts_with("HOME=")) {
        environment.push(format!("HOME={}", ids.home));
    }
    environment
}

/// Enters a directory inside the root, and makes sure of it: no descriptor of the host's can lead out (CVE-2024-21626).
pub(crate) fn enter_working_dir(path: &str) -> Result<()> {
    let enter = || -> io::Result<()> {
        let directory = inside::directory(
            own_root().map_err(|failure| io::Error::other(failure.message))?,
            path,
        )?;
        rustix::process::fchdir(directory.as_fd())?;
        let reached = rustix::process::getcwd(Vec::new())?;
        if !reached.as_bytes().starts_with(b"/") {
            return Err(io::Error::other("it is outside of the root"));
        }
        Ok(())
    };
    enter().at(Stage::WorkingDir, || format!("working directory {path}"))
}
