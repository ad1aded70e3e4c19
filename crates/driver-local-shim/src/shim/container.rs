//! The first process of a container: from the clone to the main process.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driver_local_shim::{NetworkNamespace, RunTask, Sandbox, Stage};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::setsid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cgroups::Joinable;
use crate::failure::{At, Failure, Result};
use crate::process::{self, Bounds, Ids, Stdio};
use crate::root::{Root, Terminal};
use crate::status::Starting;
use crate::sys::{self, Fork};
use crate::{init, loopback, userns};

/// What the first process takes over from the shim.
pub(crate) struct First<'a> {
    pub(crate) task: &'a RunTask,
    pub(crate) cgroups: Joinable,
    pub(crate) network: Option<OwnedFd>,
    /// Of the main process; with a terminal only stdin and stdout are placeholders until it is opened.
    pub(crate) stdio: Stdio,
    /// Held open by an init, so that streams outlive the shim.
    pub(crate) held: Vec<OwnedFd>,
    pub(crate) status: Starting,
    /// Where an init tells how the main process ended.
    pub(crate) exit: OwnedFd,
    pub(crate) oom_score_adj: i32,
}

impl First<'_> {
    /// Makes the container around this process and becomes its init or main process.
    pub(crate) fn run(mut self) -> ! {
        let result = self.close_others().and_then(|()| self.make());
        let (ids, terminal) = match result {
            Ok(made) => made,
            Err(failure) => self.status.fail(failure),
        };
        if let Err(failure) = self.set_stdio(terminal.as_ref()) {
            self.status.fail(failure);
        }
        let bounds = match process::bound(&self.task.process) {
            Ok(bounds) => bounds,
            Err(failure) => self.status.fail(failure),
        };
        if !self.task.init {
            self.become_main(bounds, &ids, terminal.as_ref());
        }
        match sys::fork(0, None).at(Stage::Exec, || "starting the main process under init") {
            Ok(Fork::Child) => self.become_main(bounds, &ids, terminal.as_ref()),
            Ok(Fork::Parent(main)) => self.become_init(&main, bounds, &ids, terminal.as_ref()),
            Err(failure) => self.status.fail(failure),
        }
    }

    fn close_others(&self) -> Result<()> {
        let mut kept: Vec<BorrowedFd<'_>> = vec![
            self.stdio.stdin.as_fd(),
            self.stdio.stdout.as_fd(),
            self.stdio.stderr.as_fd(),
            self.status.0.as_fd(),
            self.exit.as_fd(),
        ];
        kept.extend(self.held.iter().map(AsFd::as_fd));
        kept.extend(self.network.iter().map(AsFd::as_fd));
        kept.extend(self.cgroups.files.iter().map(AsFd::as_fd));
        sys::close_from(3, &kept).at(Stage::Prepare, || "closing the shim's descriptors")
    }

    fn make(&mut self) -> Result<(Ids, Option<Terminal>)> {
        let sandbox = &self.task.sandbox;
        if let Some(user) = &sandbox.user {
            self.status.await_leave()?;
            userns::close()?;
            userns::become_root(user)?;
        }
        // Limits first, so that all that follows is charged to the container; then the namespace, whose root is the
        // cgroup that this process is in.
        self.cgroups.join()?;
        reset_oom_score(self.oom_score_adj);
        unshare(CloneFlags::CLONE_NEWCGROUP).at(Stage::Namespaces, || "cgroup namespace")?;
        if let Some(network) = self.network.take() {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).at(Stage::Namespaces, || "network namespace")?;
        }
        if sandbox.network == NetworkNamespace::New {
            loopback::up().at(Stage::Namespaces, || "loopback interface")?;
        }
        rustix::system::sethostname(sandbox.hostname.as_bytes()).at(Stage::Namespaces, || "host name")?;
        leave_keyring()?;
        let root = Root::begin(sandbox)?;
        let terminal = root.add_system(sandbox, self.task.tty)?;
        root.add_mounts(sandbox)?;
        let main = &self.task.process;
        if main.make_working_dir {
            root.add_directory(&main.working_dir)?;
        }
        root.enter()?;
        Ok((process::identify(main)?, terminal))
    }

    /// The streams that only exist inside: a terminal, or the container's own /dev/null.
    fn set_stdio(&mut self, terminal: Option<&Terminal>) -> Result<()> {
        match terminal {
            Some(terminal) => self.stdio = terminal_stdio(terminal)?,
            None if !self.task.stdin => self.stdio.stdin = open_null().at(Stage::Exec, || "/dev/null")?,
            None => {}
        }
        Ok(())
    }

    fn become_main(&self, bounds: Bounds, ids: &Ids, terminal: Option<&Terminal>) -> ! {
        let confined = || -> Result<()> {
            let main = &self.task.process;
            setsid().at(Stage::Exec, || "session of its own")?;
            self.stdio.install(ids)?;
            if terminal.is_some() {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
                    .at(Stage::Exec, || "controlling terminal")?;
            }
            let mut kept = vec![self.status.0.as_fd()];
            kept.extend(
                terminal
                    .iter()
                    .flat_map(|terminal| [terminal.master.as_fd(), terminal.slave.as_fd()]),
            );
            sys::close_from(3, &kept).at(Stage::Exec, || "closing descriptors")?;
            process::confine_within(bounds, &main.working_dir, ids)?;
            self.status.executing(terminal)
        };
        match confined() {
            Ok(()) => self.status.fail(process::execute(&self.task.process, ids)),
            Err(failure) => self.status.fail(failure),
        }
    }

    /// Gives up everything but what an init needs: to wait, to signal, to tell the end.
    fn become_init(self, main: &sys::Child, bounds: Bounds, ids: &Ids, terminal: Option<&Terminal>) -> ! {
        let confined = || -> Result<()> {
            detach_stdio()?;
            let mut kept = vec![self.exit.as_fd(), self.status.0.as_fd()];
            // As long as init has them, a killed shim does not end who writes to them.
            kept.extend(self.held.iter().map(AsFd::as_fd));
            kept.extend(terminal.iter().map(|terminal| terminal.master.as_fd()));
            sys::close_from(3, &kept).at(Stage::Exec, || "closing descriptors")?;
            process::confine_within(bounds.none()?, "/", ids)?;
            if self.task.sandbox.user.is_some() {
                // Else a driver that is not root could not join the namespaces, for an exec.
                userns::open()?;
            }
            Ok(())
        };
        if let Err(failure) = confined() {
            self.status.fail(failure);
        }
        // From here on only the main process holds it, until it executes the program.
        drop(self.status);
        init::run(main.pid, &self.exit)
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

/// The shim is spared by the kernel when memory is short; the container is not.
fn reset_oom_score(score: i32) {
    let file = OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
    // It could not be lowered for the shim either, then.
    let _ = file.and_then(|mut file| file.write_all(score.to_string().as_bytes()));
}

/// Processes of a container must not find the keys of whoever started the driver.
pub(crate) fn leave_keyring() -> Result<()> {
    match sys::new_session_keyring() {
        // A kernel without keys.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOSYS) => Ok(()),
        other => other.at(Stage::Namespaces, || "session keyring"),
    }
}

/// The namespaces to begin in; that of cgroups is made after the cgroups are joined.
pub(crate) fn namespace_flags(sandbox: &Sandbox) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    flags.set(CloneFlags::CLONE_NEWNET, sandbox.network == NetworkNamespace::New);
    flags.set(CloneFlags::CLONE_NEWUSER, sandbox.user.is_some());
    flags
}

/// The failure of a container whose first process died before it executed the program.
pub(crate) fn died() -> Failure {
    Failure::new(
        Stage::Exec,
        "the container's first process was killed before it executed the program (is there memory for it?)",
    )
}
