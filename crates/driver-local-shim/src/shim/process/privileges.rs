//! Giving up rights: capabilities, user, system calls.

use driver_local_shim::{Rights, Stage};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::Ids;
use crate::failure::{At, Failure, Result};
use crate::sys;

/// What all processes with these rights have in common: bounds of capabilities and the system call filter. They
/// are inherited, and to install a filter is dear, so an init and its main process share them.
///
/// The filter lets pass what is still to be done. Without `no_new_privileges` the kernel wants `CAP_SYS_ADMIN` for it, which
/// this process still has.
pub(crate) fn bound(rights: &Rights) -> Result<Bounds> {
    let kept = available(rights.capabilities)?;
    limit(CapabilitySet::from_bits_retain(u64::MAX), kept).at(Stage::Privileges, || "capabilities")?;
    if rights.no_new_privileges {
        set_no_new_privs(true).at(Stage::Privileges, || "no new privileges")?;
    }
    if let Some(filter) = &rights.seccomp {
        sys::set_seccomp_filter(filter).at(Stage::Privileges, || "system call filter")?;
    }
    Ok(Bounds(kept))
}

/// What this process and those it starts can have at most.
#[derive(Clone, Copy)]
pub(crate) struct Bounds(CapabilitySet);

impl Bounds {
    /// Without any capability.
    pub(crate) fn none(self) -> Result<Self> {
        limit(self.0, CapabilitySet::empty()).at(Stage::Privileges, || "capabilities")?;
        Ok(Self(CapabilitySet::empty()))
    }
}

/// Becomes the user, with the capabilities that the bounds leave to it.
pub(super) fn become_user(ids: &Ids, bounds: Bounds) -> Result<()> {
    let change = || {
        set_keep_capabilities(true)?;
        set_groups(&ids.groups)?;
        set_thread_res_gid(ids.gid, ids.gid, ids.gid)?;
        set_thread_res_uid(ids.uid, ids.uid, ids.uid)?;
        set_keep_capabilities(false)?;
        // The kernel sets it anew with the user; what is in this memory is not for processes of the container.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
    };
    change().at(Stage::Privileges, || {
        format!("user {} and group {}", ids.uid.as_raw(), ids.gid.as_raw())
    })?;
    set(match ids.uid {
        Uid::ROOT => bounds.0,
        _ => CapabilitySet::empty(),
    })
}

/// What was asked for, if this process has it to give.
fn available(wanted: u64) -> Result<CapabilitySet> {
    let wanted = CapabilitySet::from_bits_retain(wanted);
    let own = capabilities(None)
        .at(Stage::Privileges, || "capabilities")?
        .permitted;
    if own.contains(wanted) {
        return Ok(wanted);
    }
    let missing = wanted.difference(own).bits();
    Err(Failure::new(
        Stage::Privileges,
        format!(
            "capability number {}: the driver does not have it to give",
            missing.trailing_zeros()
        ),
    ))
}

/// Takes from the bounding set what is in `before` and not in `kept`.
fn limit(before: CapabilitySet, kept: CapabilitySet) -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) || !before.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // Beyond the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    clear_ambient_capability_set()
}

/// In a user namespace of one group there are no others to take, and it is refused.
fn set_groups(groups: &[Gid]) -> rustix::io::Result<()> {
    match set_thread_groups(groups) {
        Err(Errno::PERM) if is_denied() => Ok(()),
        other => other,
    }
}

fn is_denied() -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

fn set(capabilities: CapabilitySet) -> Result<()> {
    let sets = CapabilitySets {
        effective: capabilities,
        permitted: capabilities,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).at(Stage::Privileges, || "capabilities")
}
