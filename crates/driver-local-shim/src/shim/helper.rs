//! The program that connects a container's network namespace with the world, and the guard that ends it.
//!
//! The guard is a process of its own, because the helper has to live as long as the container, which a killed shim does not.
//! It waits for the end of the container's first process and then kills the helper; a guard that is killed itself takes
//! the helper with it. What holds `helper.lock` is the guard. Where ports of UDP are published, a relay is another child
//! of it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use driver_local_shim::{NetworkHelper, Stage};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, ThreadNameSpaceType, move_into_thread_name_spaces, set_capabilities,
    set_name,
};

use crate::directory::Directory;
use crate::failure::{At, Failure, Result};
use crate::relay::Relay;
use crate::sys::{self, Child, Fork};
use crate::wall;

/// How much of what a helper says is told.
const MOST_WORDS: usize = 2000;

/// One that has been started.
pub(crate) struct Helper {
    ready: OwnedFd,
    /// What it says. In memory, so that it can go on when nobody reads.
    words: OwnedFd,
    program: String,
}

/// What the guard and the helper take over from the shim.
struct Ends {
    ready: OwnedFd,
    words: OwnedFd,
    lock: OwnedFd,
    /// What publishes ports of UDP, if there are any.
    relay: Option<Relay>,
}

impl Helper {
    /// Starts it for the namespaces of this process, which must be such that they can be opened.
    pub(crate) fn begin(helper: &NetworkHelper, init: &Child, directory: &Directory) -> Result<Self> {
        let broken = || "the pipe of the network helper";
        let (ready, theirs) = pipe_with(PipeFlags::CLOEXEC).at(Stage::Namespaces, broken)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let words =
            memfd_create("helper", flags).at(Stage::Namespaces, || "the words of the network helper")?;
        let relay = || Relay::bind(&helper.udp_ports, helper.address);
        let relay = (!helper.udp_ports.is_empty()).then(relay).transpose();
        let ends = Ends {
            relay: relay.at(Stage::Namespaces, || "publishing")?,
            ready: theirs,
            words: words.try_clone().at(Stage::Namespaces, broken)?,
            lock: directory.lock_helper()?,
        };
        match sys::fork(0, None).at(Stage::Namespaces, || "the guard of the network helper")? {
            Fork::Child => guard(helper, init, ends),
            // It is reaped with this process, by whoever gets the orphans.
            Fork::Parent(_) => Ok(Self {
                ready,
                words,
                program: helper.program.clone(),
            }),
        }
    }

    /// Waits until the network is up. The driver's end of the socket is watched: without it nobody wants the run.
    pub(crate) fn await_ready(self, driver: &OwnedFd) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::new(&self.ready, PollFlags::IN),
                PollFd::new(driver, PollFlags::RDHUP),
            ];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.at(Stage::Namespaces, || "poll")?,
            };
            if !fds[1].revents().is_empty() {
                return Err(Failure::new(Stage::Prepare, "the driver is gone"));
            }
            if !fds[0].revents().is_empty() {
                break;
            }
        }
        match rustix::io::read(&self.ready, &mut [0; 16]) {
            // Nobody reads what it says from here on: it must not fill the memory.
            Ok(1..) => fcntl_add_seals(&self.words, SealFlags::GROW | SealFlags::WRITE)
                .at(Stage::Namespaces, || "the words of the network helper"),
            _ => Err(self.failed()),
        }
    }

    fn failed(&self) -> Failure {
        let mut said = Vec::with_capacity(MOST_WORDS);
        // With nothing read there is nothing to tell.
        let _ = rustix::io::pread(&self.words, spare_capacity(&mut said), 0);
        let said = String::from_utf8_lossy(&said);
        let said: Vec<&str> = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Failure::new(
            Stage::Namespaces,
            format!("{} gives no network: {}", self.program, said.join("; ")),
        )
    }
}

/// In a process of its own: starts the helper, and ends it with the container.
fn guard(helper: &NetworkHelper, init: &Child, mut ends: Ends) -> ! {
    let mut kept = vec![
        init.pidfd.as_fd(),
        ends.ready.as_fd(),
        ends.words.as_fd(),
        ends.lock.as_fd(),
    ];
    kept.extend(ends.relay.iter().flat_map(Relay::sockets));
    let this = getpid();
    let begun = sys::close_from(3, &kept)
        // For `ps`.
        .and_then(|()| Ok(set_name(c"driver-network")?));
    let relay = ends.relay.take();
    let begun = begun
        .and_then(|()| relay.map(|relay| publish(relay, init, this)).transpose())
        .and_then(|relay| Ok((relay, sys::fork(0, None)?)));
    match begun {
        Ok((_, Fork::Child)) => execute(helper, init.pid, this, ends),
        Ok((relay, Fork::Parent(child))) => {
            drop(ends.ready);
            drop(ends.words);
            wait_for_either(init, &child);
            for child in [Some(child), relay].into_iter().flatten() {
                child.kill();
                child.wait();
            }
            drop(ends.lock);
            std::process::exit(0)
        }
        Err(error) => {
            let _ = write!(std::fs::File::from(ends.words), "{error}");
            std::process::exit(1)
        }
    }
}

/// Starts the relay, and waits until it is in the container's namespace: that can be entered only as long as the shim waits for the
/// helper.
fn publish(relay: Relay, init: &Child, guard: Pid) -> io::Result<Child> {
    let (joined, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::fork(0, None)? {
        Fork::Child => {
            let mut theirs = std::fs::File::from(theirs);
            match enter(&relay, &theirs, init, guard) {
                Ok(()) if theirs.write_all(&[0]).is_ok() => {}
                Ok(()) => std::process::exit(1),
                Err(error) => {
                    let _ = write!(theirs, "publishing ports of UDP: {error}");
                    std::process::exit(1)
                }
            }
            drop(theirs);
            relay.serve()
        }
        Fork::Parent(child) => {
            drop(theirs);
            let mut said = Vec::new();
            std::fs::File::from(joined).read_to_end(&mut said)?;
            match said.as_slice() {
                [0] => Ok(child),
                said => Err(io::Error::other(String::from_utf8_lossy(said))),
            }
        }
    }
}

/// Enters the network namespace, keeps the sockets, and lets go of all else that this process could do.
fn enter(relay: &Relay, parent: impl AsFd, init: &Child, guard: Pid) -> io::Result<()> {
    move_into_thread_name_spaces(
        init.pidfd.as_fd(),
        ThreadNameSpaceType::USER | ThreadNameSpaceType::NETWORK,
    )?;
    let mut kept = vec![parent.as_fd()];
    kept.extend(relay.sockets());
    sys::close_from(3, &kept)?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )?;
    // After the credentials have changed for the last time: that takes it back.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(guard) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    // Without Landlock it goes without.
    let _ = wall::close_all();
    Ok(())
}

/// Becomes the helper, unless the guard has ended already.
fn execute(helper: &NetworkHelper, init: Pid, guard: Pid, ends: Ends) -> ! {
    let died = set_parent_process_death_signal(Some(Signal::KILL));
    if died.is_err() || getppid() != Some(guard) {
        std::process::exit(1);
    }
    let pid = init.as_raw_nonzero().to_string();
    let arguments = helper
        .arguments
        .iter()
        .map(|argument| argument.replace("{pid}", &pid));
    let mut words = std::fs::File::from(ends.words);
    let stderr = match words.try_clone() {
        Ok(stderr) => stderr.into(),
        Err(_) => Stdio::null(),
    };
    // The signals that the shim has blocked are unblocked by it.
    let error = Command::new(&helper.program)
        .args(arguments)
        .stdin(ends.ready)
        .stdout(Stdio::null())
        .stderr(stderr)
        .exec();
    let _ = write!(words, "{error}");
    std::process::exit(1)
}

fn wait_for_either(init: &Child, helper: &Child) {
    loop {
        let mut fds = [
            PollFd::new(&init.pidfd, PollFlags::IN),
            PollFd::new(&helper.pidfd, PollFlags::IN),
        ];
        // Only a lack of memory can be the reason of another error; the next try may find some.
        if poll(&mut fds, None).is_ok_and(|ready| ready > 0) {
            return;
        }
    }
}
