//! The first process of a container: from the clone to the main process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::{NetworkNamespace, RunTask, Sandbox, Stage};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, setsid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cgroups::Joinable;
use crate::failure::{At, Failure, Result};
use crate::process::{self, Bounds, Ids, Stdio};
use crate::root::{Bare, Materials, Root, Skeleton, Terminal};
use crate::status::Starting;
use crate::sys;
use crate::{init, loopback, routes, userns};

/// The first process of a container, before it has made it.
pub(crate) struct First<'a> {
    pub(crate) task: &'a RunTask,
    pub(crate) network: Option<OwnedFd>,
    pub(crate) status: Starting,
    pub(crate) bare: Option<Bare>,
    /// What was made ahead.
    pub(crate) made: Option<Made>,
}

/// What was made of a container before this process was told to make the rest. Its loopback interface is up, and it has a
/// keyring.
pub(crate) struct Made {
    pub(crate) skeleton: Skeleton,
    pub(crate) materials: Materials,
}

/// What it takes over from the shim once its root is made.
pub(crate) struct Equipment {
    /// Absent: this process is in them.
    pub(crate) cgroups: Option<Joinable>,
    /// Of the main process; with a terminal only stdin and stdout are placeholders until it is opened.
    pub(crate) stdio: Stdio,
    /// Held open by an init, so that streams outlive the shim.
    pub(crate) held: Vec<OwnedFd>,
    /// Where an init tells how the main process ended.
    pub(crate) exit: OwnedFd,
}

impl Equipment {
    /// All of it, as a prepared process receives it: three streams, the exit, what is held, the cgroups.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let Stdio {
            stdin,
            stdout,
            stderr,
        } = &self.stdio;
        let own = [stdin, stdout, stderr, &self.exit].into_iter();
        let cgroups = self.cgroups.iter().flat_map(|cgroups| &cgroups.files);
        own.chain(&self.held).chain(cgroups).map(AsFd::as_fd).collect()
    }
}

impl First<'_> {
    /// Closes what a copy of the shim has open, but for its own and these.
    pub(crate) fn close_all_but(&self, kept: &[BorrowedFd<'_>]) -> Result<()> {
        let own = [&self.status.0].into_iter().chain(&self.network).map(AsFd::as_fd);
        let own = own.chain(self.bare.iter().map(AsFd::as_fd));
        let kept: Vec<_> = kept.iter().copied().chain(own).collect();
        sys::close_from(3, &kept).at(Stage::Prepare, || "closing the shim's descriptors")
    }

    /// Makes the container around this process and becomes its init or main process.
    pub(crate) fn run(mut self, equipment: impl FnOnce() -> Result<Equipment>) -> ! {
        let begun = self.make().and_then(|(ids, terminal)| {
            let equipment = equipment()?;
            if let Some(cgroups) = &equipment.cgroups {
                cgroups.enter()?;
            }
            let mut begun = Begun {
                task: self.task,
                equipment,
                ids,
                terminal,
                bounds: process::bound(&self.task.process.rights)?,
            };
            begun.set_stdio()?;
            Ok(begun)
        });
        match begun {
            Ok(begun) => begun.run(self.status),
            Err(failure) => self.status.fail(failure),
        }
    }

    fn make(&mut self) -> Result<(Ids, Option<Terminal>)> {
        let sandbox = &self.task.sandbox;
        if let Some(user) = &sandbox.user {
            self.status.await_leave()?;
            userns::close()?;
            userns::become_root(user)?;
        }
        if let Some(network) = self.network.take() {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).at(Stage::Namespaces, || "network namespace")?;
        }
        if self.made.is_none() && sandbox.network.is_new() {
            loopback::up().at(Stage::Namespaces, || "loopback interface")?;
        }
        if let NetworkNamespace::Helper(helper) = &sandbox.network {
            routes::refuse(&helper.unreachable).at(Stage::Namespaces, || "routes to what is out of reach")?;
        }
        rustix::system::sethostname(sandbox.hostname.as_bytes()).at(Stage::Namespaces, || "host name")?;
        let root = match self.made.take() {
            Some(Made { skeleton, materials }) => Root::in_skeleton(skeleton, materials, sandbox)?,
            None => {
                leave_keyring()?;
                Root::begin(self.bare.take(), sandbox)?
            }
        };
        let terminal = root.add_system(sandbox, self.task.tty)?;
        root.add_mounts(sandbox)?;
        root.add_working_dir(sandbox)?;
        root.enter()?;
        Ok((process::identify(&self.task.process.rights)?, terminal))
    }
}

/// The first process once its container is made.
struct Begun<'a> {
    task: &'a RunTask,
    equipment: Equipment,
    ids: Ids,
    terminal: Option<Terminal>,
    bounds: Bounds,
}

impl Begun<'_> {
    fn run(self, status: Starting) -> ! {
        if !self.task.init {
            self.become_main(status);
        }
        // Without root nobody can join the namespaces before init has opened them: there it holds up the start.
        let copy = self.task.sandbox.user.as_ref().map(|_| status.0.try_clone());
        let held = copy.and_then(std::result::Result::ok);
        let passed = match status.pass() {
            Ok(passed) => passed,
            Err((status, failure)) => status.fail(failure),
        };
        let main = sys::fork_to_execute(|| self.become_main(passed.take()));
        match main.at(Stage::Exec, || "starting the main process under init") {
            Ok(main) => self.become_init(main, held),
            Err(failure) => passed.take().fail(failure),
        }
    }

    /// The streams that only exist inside: a terminal, or the container's own /dev/null.
    fn set_stdio(&mut self) -> Result<()> {
        match &self.terminal {
            Some(terminal) => self.equipment.stdio = terminal_stdio(terminal)?,
            None if !self.task.stdin => {
                self.equipment.stdio.stdin = open_null().at(Stage::Exec, || "/dev/null")?;
            }
            None => {}
        }
        Ok(())
    }

    fn become_main(&self, status: Starting) -> ! {
        let terminal = self.terminal.as_ref();
        let confined = || -> Result<()> {
            setsid().at(Stage::Exec, || "session of its own")?;
            self.equipment.stdio.install(&self.ids)?;
            if terminal.is_some() {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
                    .at(Stage::Exec, || "controlling terminal")?;
            }
            let mut kept = vec![status.0.as_fd()];
            kept.extend(
                terminal
                    .iter()
                    .flat_map(|terminal| [terminal.master.as_fd(), terminal.slave.as_fd()]),
            );
            sys::close_from(3, &kept).at(Stage::Exec, || "closing descriptors")?;
            process::enter_working_dir(&self.task.process.working_dir)?;
            process::confine(self.bounds, &self.ids)?;
            status.executing(terminal)
        };
        match confined() {
            Ok(()) => status.fail(process::execute(&self.task.process, &self.ids)),
            Err(failure) => status.fail(failure),
        }
    }

    /// Gives up everything but what an init needs: to wait, to signal, to tell the end.
    fn become_init(self, main: Pid, start: Option<OwnedFd>) -> ! {
        let Equipment { exit, held, .. } = &self.equipment;
        // As long as init has them, a killed shim does not end who writes to them.
        let terminal = self.terminal.iter().map(|terminal| terminal.master.as_fd());
        let output: Vec<_> = held.iter().map(AsFd::as_fd).chain(terminal).collect();
        let confine = || -> Result<()> {
            detach_stdio()?;
            let mut kept = vec![exit.as_fd()];
            kept.extend(start.iter().map(AsFd::as_fd));
            kept.extend(&output);
            sys::close_from(3, &kept).at(Stage::Exec, || "closing descriptors")?;
            let bounds = self.bounds.none()?;
            process::enter_working_dir("/")?;
            process::confine(bounds, &self.ids)?;
            if self.task.sandbox.user.is_some() {
                // Else a driver that is not root could not join the namespaces, for an exec.
                userns::open()?;
            }
            drop(start);
            Ok(())
        };
        init::run(main, exit, &output, confine)
    }
}

/// Init has no streams.
fn detach_stdio() -> Result<()> {
    let detach = || {
        let null = open_null()?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)
    };
    detach().at(Stage::Exec, || "/dev/null of init")
}

fn open_null() -> rustix::io::Result<OwnedFd> {
    openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn terminal_stdio(terminal: &Terminal) -> Result<Stdio> {
    let copy = || terminal.slave.try_clone().at(Stage::Prepare, || "the terminal");
    Ok(Stdio {
        stdin: copy()?,
        stdout: copy()?,
        stderr: copy()?,
    })
}

/// Processes of a container must not find the keys of whoever started the driver.
pub(crate) fn leave_keyring() -> Result<()> {
    match sys::new_session_keyring() {
        // A kernel without keys.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOSYS) => Ok(()),
        other => other.at(Stage::Namespaces, || "session keyring"),
    }
}

/// The namespaces that every container has from its beginning on.
pub(crate) const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWPID
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// The namespaces to begin in. That of mounts is made with the root, if it is not of a user namespace; that of cgroups after the
/// cgroups are joined.
pub(crate) fn namespace_flags(sandbox: &Sandbox) -> CloneFlags {
    let mut flags = NAMESPACES;
    flags.set(CloneFlags::CLONE_NEWNET, sandbox.network.is_new());
    let of_user = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    flags.set(of_user, sandbox.user.is_some());
    flags
}

/// The failure of a container whose first process died before it executed the program.
pub(crate) fn died() -> Failure {
    Failure::new(
        Stage::Exec,
        "the container's first process was killed before it executed the program (is there memory for it?)",
    )
}
