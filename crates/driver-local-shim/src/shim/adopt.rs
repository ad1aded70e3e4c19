//! Going on where the shim of a run was killed.
//!
//! The container's FIFOs are still open in its init, its log goes on at the very byte, and its exit is in a file, or with the
//! kernel. What died with the shim is the way to stdin.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use driver_local_shim::{AdoptTask, Report, Stage, record};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};

use crate::clock::{now_ms, start_time};
use crate::directory::Directory;
use crate::failure::{At, Result};
use crate::logs::LogWriter;
use crate::oom::OomWatch;
use crate::root::Terminal;
use crate::run::{EXIT, Run, tell};
use crate::server::Server;
use crate::streams::{ERR, OUT, Ours};
use crate::supervisor::Supervisor;
use crate::sys::Child;

/// Watches a container that another shim has made, to its end.
pub(crate) fn adopt(task: AdoptTask, driver: OwnedFd) -> ExitCode {
    let (init_pid, init_start_time) = (task.init_pid, task.init_start_time);
    let (supervisor, lives) = match begin(task) {
        Ok(begun) => begun,
        Err(failure) => {
            let _ = tell(&driver, &failure.into());
            return ExitCode::FAILURE;
        }
    };
    if lives {
        let report = Report::Started {
            init_pid,
            init_start_time,
        };
        let _ = tell(&driver, &report);
        supervisor.watch();
        drop(driver);
    } else {
        supervisor.finish();
        let _ = tell(&driver, &Report::Ready);
    }
    ExitCode::SUCCESS
}

fn begin(task: AdoptTask) -> Result<(Supervisor, bool)> {
    let directory = Directory::open(&task.directory)?;
    let init = find(&task);
    let streams = streams(&directory, &task, init.as_ref());
    let log = LogWriter::adopt(directory.open_log()?, task.log, &streams.sources)
        .at(Stage::Prepare, || "the log")?;
    let lives = init.as_ref().is_some_and(|init| !init.has_ended());
    if lives {
        let record = record::adopted(task.run, now_ms());
        directory.append(&record).at(Stage::Prepare, || "the journal")?;
    }
    let exit = directory.open_file(EXIT, OFlags::RDWR).ok();
    let run = Run {
        number: task.run,
        streams,
        log,
        oom: OomWatch::open_from_start(&task.cgroups),
        server: Server::new(directory.listen()?),
        cgroups: task.cgroups,
        helper: directory.helper(),
        _mounts: None,
        directory,
    };
    Ok((Supervisor::new(run, init, exit), lives))
}

/// The container's first process, if it is still that one.
fn find(task: &AdoptTask) -> Option<Child> {
    let pid = Pid::from_raw(task.init_pid)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // After the descriptor was opened: as long as the process is this one, so is the descriptor.
    let is_it = start_time(pid).is_ok_and(|time| time == task.init_start_time);
    is_it.then_some(Child { pid, pidfd })
}

/// What can be found again of them.
fn streams(directory: &Directory, task: &AdoptTask, init: Option<&Child>) -> Ours {
    let mut streams = Ours {
        sources: Vec::new(),
        stdin: None,
        terminal: None,
    };
    if task.tty {
        if let Some(terminal) = init.and_then(terminal_of) {
            // Without it the output is lost, and the container lives.
            let _ = streams.set_terminal(terminal);
        }
        return streams;
    }
    for (number, name) in [(1, OUT), (2, ERR)] {
        let fifo = directory.open_fifo(name, OFlags::RDWR | OFlags::NONBLOCK);
        streams.sources.extend(fifo.ok().map(|fifo| (number, fifo)));
    }
    streams
}

/// The terminal whose master an init holds.
fn terminal_of(init: &Child) -> Option<Terminal> {
    let directory = format!("/proc/{}/fd", init.pid.as_raw_nonzero());
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let mut masters = entries.filter(|entry| {
        let target = std::fs::read_link(entry.path());
        target.is_ok_and(|target| target.ends_with("ptmx"))
    });
    let number = masters.next()?.file_name().to_str()?.parse().ok()?;
    let master = pidfd_getfd(&init.pidfd, number, PidfdGetfdFlags::empty()).ok()?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).ok()?;
    Some(Terminal { master, slave })
}
