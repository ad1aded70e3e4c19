//! User namespaces, for a driver that is not root.
//!
//! The maps of a namespace are written from outside of it. The kernel lets only the owner of `/proc/PID` do that, which
//! for a process that is not dumpable is root: so both are dumpable until it is done. No process of a container runs yet.

use std::fs;
use std::process::{Command, Stdio};

use driver_local_shim::{IdMap, Stage, UserNamespace};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Gid, Uid};
use rustix::process::{DumpableBehavior, Pid, geteuid, getpid, set_dumpable_behavior};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::failure::{At, Failure, Result};
use crate::status::{self, Progress};
use crate::sys::{self, Fork};

/// Lets the maps of this process, or of one that it forks, be written.
pub(crate) fn open() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::Dumpable).at(Stage::Namespaces, || "dumpable")
}

/// Ends what [`open`] began.
pub(crate) fn close() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Namespaces, || "not dumpable")
}

/// Writes the maps of the new namespace that `pid` is in, from outside of it.
pub(crate) fn write_maps(pid: Pid, namespace: &UserNamespace) -> Result<()> {
    let pid = pid.as_raw_nonzero();
    if namespace.by_helpers {
        help("newuidmap", pid.get(), &namespace.uids)?;
        return help("newgidmap", pid.get(), &namespace.gids);
    }
    let write = |name: &str, text: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::write(&path, text).at(Stage::Namespaces, || format!("{path} of the user namespace"))
    };
    write("uid_map", &lines(&namespace.uids))?;
    if !geteuid().is_root() {
        // Else it could leave a group that a file refuses.
        write("setgroups", "deny")?;
    }
    write("gid_map", &lines(&namespace.gids))
}

fn lines(maps: &[IdMap]) -> String {
    let lines = maps
        .iter()
        .map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count));
    lines.collect()
}

/// The programs with a right to map what `/etc/subuid` and `/etc/subgid` grant.
fn help(program: &str, pid: i32, maps: &[IdMap]) -> Result<()> {
    let numbers = maps.iter().flat_map(|map| [map.inside, map.outside, map.count]);
    let output = Command::new(program)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output()
        .at(Stage::Namespaces, || {
            format!("{program}, which maps the ids of /etc/subuid and /etc/subgid")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(
        Stage::Namespaces,
        format!("{program}: {}", reason.trim()),
    ))
}

/// In the new namespace: becomes its root, where it has one.
pub(crate) fn become_root(namespace: &UserNamespace) -> Result<()> {
    let has_root = |maps: &[IdMap]| maps.iter().any(|map| map.inside == 0 && map.count > 0);
    if has_root(&namespace.gids) {
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
            .at(Stage::Namespaces, || "root of the user namespace")?;
    }
    if has_root(&namespace.uids) {
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
            .at(Stage::Namespaces, || "root of the user namespace")?;
    }
    Ok(())
}

/// Moves this process into a new user namespace and a mount namespace of it. A child that stays outside writes the maps.
pub(crate) fn enter(namespace: &UserNamespace) -> Result<()> {
    open()?;
    let (outside, helper) = status::channel().at(Stage::Namespaces, || "a socket")?;
    let pid = getpid();
    match sys::fork(0, None).at(Stage::Namespaces, || "a process to write the maps")? {
        Fork::Child => {
            drop(outside);
            let written = helper.await_leave().and_then(|()| write_maps(pid, namespace));
            match written {
                Ok(()) => std::process::exit(0),
                Err(failure) => helper.fail(failure),
            }
        }
        Fork::Parent(child) => {
            drop(helper);
            let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
            unshare(flags).at(Stage::Namespaces, || "user namespace")?;
            outside.give_leave()?;
            let progress = outside
                .receive()
                .at(Stage::Namespaces, || "the maps of the user namespace")?;
            child.wait();
            match progress {
                Progress::Failed(failure) => Err(failure),
                // The change of the user has set it anew.
                _ => become_root(namespace).and_then(|()| open()),
            }
        }
    }
}
