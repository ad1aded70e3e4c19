//! Making the first process of a container: as early as can be, since it makes the root while the shim and the driver make the
//! rest.

use std::os::fd::OwnedFd;

use driver_local_shim::{Cgroup, NetworkNamespace, RunCgroups, RunTask, Stage};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::Pid;

use crate::cgroups::Joinable;
use crate::container::{Equipment, First, namespace_flags};
use crate::failure::{At, Result};
use crate::forked::{Forked, Unbegun};
use crate::prepared::Ahead;
use crate::status::{Starting, Watching};
use crate::sys::{self, Fork};
use crate::userns;

/// The first process, or what it takes to make it.
pub(crate) enum FirstProcess<'a> {
    /// It waited for this run, in the cgroups of [`RunCgroups::Taken`].
    Prepared(Forked),
    /// It joins its cgroups when they are there.
    Forked(Forked),
    /// It has to begin in its cgroup, or waits for its ids anyway.
    ToFork(First<'a>),
}

impl<'a> FirstProcess<'a> {
    pub(crate) fn begin(task: &'a RunTask, ahead: Ahead, status: Starting) -> Result<Self> {
        let Ahead { prepared, bare } = ahead;
        let network = open_network(&task.sandbox.network)?;
        let prepared = prepared.and_then(|prepared| prepared.begin(task, &status, network.as_ref()));
        if let Some(process) = prepared {
            return Ok(Self::Prepared(process));
        }
        let first = First {
            task,
            network,
            status,
            bare,
            made: None,
        };
        let is_v2 = |cgroup: &Cgroup| matches!(cgroup, Cgroup::V2(_));
        if task.sandbox.user.is_some() || task.cgroups.iter().any(is_v2) {
            return Ok(Self::ToFork(first));
        }
        Forked::of(first).map(Self::Forked)
    }

    /// Its number, if it is there and waits for its equipment.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self {
            Self::Prepared(process) | Self::Forked(process) => Some(process.pid()),
            Self::ToFork(_) => None,
        }
    }

    /// Whether it is in the container's cgroups already.
    pub(crate) fn is_in(&self, cgroups: RunCgroups) -> bool {
        matches!((self, cgroups), (Self::Prepared(_), RunCgroups::Taken))
    }

    /// Lets it start the program.
    pub(crate) fn equip(self, equipment: Equipment, watching: &Watching) -> Result<Unbegun> {
        match self {
            Self::Prepared(process) | Self::Forked(process) => {
                // One that has failed tells why.
                let equipped = process.equip(&equipment);
                equipped.map_err(|failure| watching.failure().unwrap_or(failure))
            }
            Self::ToFork(first) => clone(first, equipment),
        }
    }
}

/// Forks it into its namespaces, and into a cgroup of version 2.
fn clone(first: First<'_>, equipment: Equipment) -> Result<Unbegun> {
    let sandbox = &first.task.sandbox;
    if sandbox.user.is_some() {
        userns::open()?;
    }
    let flags = namespace_flags(sandbox).bits();
    let cgroup = equipment.cgroups.as_ref().and_then(Joinable::directory);
    match sys::fork(flags, cgroup).at(Stage::Namespaces, || "the container's namespaces")? {
        Fork::Child => {
            let closed = first.close_all_but(&equipment.descriptors());
            first.run(|| closed.map(|()| equipment))
        }
        Fork::Parent(child) => Ok(child.into()),
    }
}

fn open_network(network: &NetworkNamespace) -> Result<Option<OwnedFd>> {
    let NetworkNamespace::Path(path) = network else {
        return Ok(None);
    };
    let namespace = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    namespace.map(Some).at(Stage::Namespaces, || path.clone())
}
