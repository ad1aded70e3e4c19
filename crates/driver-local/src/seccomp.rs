//! The default system call filter: [`profile`] as BPF for seccomp(2).
//!
//! The program looks the number up in a binary tree of ranges that share a verdict. What the profile does not name gets
//! `EPERM`, but what is newer than all that it names gets `ENOSYS`, as on a kernel that does not have it, so that
//! programs fall back to what they know. System calls of another architecture (32-bit programs) end the process.

mod profile;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use driver_local_shim::Bpf;
use driver_types::LinuxCapabilities;
use nix::errno::Errno;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the system call filter knows x86_64 and aarch64 only: add this architecture to seccomp.rs");

#[cfg(target_arch = "x86_64")]
const NATIVE: &Architecture = &X86_64;

#[cfg(target_arch = "aarch64")]
const NATIVE: &Architecture = &AARCH64;

/// How a kernel numbers its system calls.
struct Architecture {
    /// `AUDIT_ARCH_*` of linux/audit.h.
    audit: u32,
    number: fn(&str) -> Option<u32>,
}

#[cfg(any(test, target_arch = "x86_64"))]
const X86_64: Architecture = Architecture {
    audit: 0xc000_003e,
    number: |name| {
        let number = syscalls::x86_64::Sysno::from_str(name).ok()?.id();
        u32::try_from(number).ok()
    },
};

#[cfg(any(test, target_arch = "aarch64"))]
const AARCH64: Architecture = Architecture {
    audit: 0xc000_00b7,
    number: |name| {
        let number = syscalls::aarch64::Sysno::from_str(name).ok()?.id();
        u32::try_from(number).ok()
    },
};

/// The filter of a container with these capabilities, a bit mask.
pub(crate) fn default_filter(capabilities: u64) -> Arc<Bpf> {
    static FILTERS: Mutex<BTreeMap<u64, Arc<Bpf>>> = Mutex::new(BTreeMap::new());
    let guarding = profile::WITH_CAPABILITY
        .iter()
        .fold(0, |mask, (name, _)| mask | bit(name));
    let capabilities = capabilities & guarding;
    let mut filters = FILTERS.lock().unwrap_or_else(PoisonError::into_inner);
    let filter = filters
        .entry(capabilities)
        .or_insert_with(|| Arc::new(encode(&compile(NATIVE, capabilities))));
    Arc::clone(filter)
}

/// What happens to a system call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Refuse(Errno),
    /// clone(2) without new namespaces.
    Clone,
    /// personality(2) with harmless values.
    Personality,
    /// socket(2) of most families.
    Socket,
    /// ioctl(2) but for what changes a file's attributes.
    Ioctl,
}

/// The verdicts of the system calls that the profile names.
fn verdicts(architecture: &Architecture, capabilities: u64) -> BTreeMap<u32, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut set = |names: &str, verdict| {
        let numbers = names.split_whitespace().filter_map(architecture.number);
        verdicts.extend(numbers.map(|number| (number, verdict)));
    };
    set(profile::ALLOWED, Verdict::Allow);
    set("personality", Verdict::Personality);
    set("socket", Verdict::Socket);
    set("ioctl", Verdict::Ioctl);
    // First what is refused: a system call may be allowed by one of several capabilities.
    for (_, names) in profile::WITH_CAPABILITY {
        set(names, Verdict::Refuse(Errno::EPERM));
    }
    set("clone", Verdict::Clone);
    // Its flags are in memory, where a filter cannot see them. C libraries fall back to clone on ENOSYS.
    set("clone3", Verdict::Refuse(Errno::ENOSYS));
    for (capability, names) in profile::WITH_CAPABILITY {
        if capabilities & bit(capability) != 0 {
            set(names, Verdict::Allow);
        }
    }
    verdicts
}

/// The first number and the verdict of each range, in order and without a gap: the last one has no end.
fn ranges(named: &BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let after_newest = named.last_key_value().map_or(0, |(newest, _)| newest + 1);
    let known = (0..after_newest).map(|number| {
        let verdict = named.get(&number).copied();
        (number, verdict.unwrap_or(Verdict::Refuse(Errno::EPERM)))
    });
    let newer = (after_newest, Verdict::Refuse(Errno::ENOSYS));
    let mut ranges: Vec<(u32, Verdict)> = known.chain([newer]).collect();
    ranges.dedup_by_key(|(_, verdict)| *verdict);
    ranges
}

/// `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    value: u32,
}

// Operations: BPF_LD | BPF_W | BPF_ABS, BPF_JMP with BPF_JA or a comparison | BPF_K, BPF_RET | BPF_K.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER_OR_EQUAL: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// Offsets in `struct seccomp_data`. Arguments have 64 bits; of those that are looked at here, the kernel itself uses
// the lower 32 only, or cannot find a namespace flag elsewhere. Both architectures are little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;

// `SECCOMP_RET_*` of linux/seccomp.h.
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

const fn step(code: u16, value: u32) -> Instruction {
    branch(code, value, 0, 0)
}

/// Skips as many instructions when the comparison is true, or false.
const fn branch(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}

fn compile(architecture: &Architecture, capabilities: u64) -> Vec<Instruction> {
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        branch(EQUAL, architecture.audit, 1, 0),
        step(RETURN, KILL_PROCESS),
        step(LOAD, NUMBER),
    ];
    program.extend(tree(&ranges(&verdicts(architecture, capabilities))));
    program
}

/// Finds the range of the number that is loaded.
fn tree(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return decide(*verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (start, low, high) = (high[0].0, tree(low), tree(high));
    // A comparison skips 255 instructions at most, a plain jump any number.
    let mut program = vec![
        branch(GREATER_OR_EQUAL, start, 0, 1),
        step(JUMP, low.len() as u32),
    ];
    program.extend(low);
    program.extend(high);
    program
}

fn decide(verdict: Verdict) -> Vec<Instruction> {
    let allow = step(RETURN, ALLOW);
    let refuse = |errno: Errno| step(RETURN, ERRNO | errno as u32);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Refuse(errno) => vec![refuse(errno)],
        Verdict::Clone => vec![
            step(LOAD, FIRST_ARGUMENT),
            branch(ANY_BIT, profile::NAMESPACE_FLAGS, 0, 1),
            refuse(Errno::EPERM),
            allow,
        ],
        Verdict::Personality => one_of(
            FIRST_ARGUMENT,
            &profile::PERSONALITIES,
            allow,
            refuse(Errno::EPERM),
        ),
        // As a file system answers that has no such attributes.
        Verdict::Ioctl => one_of(
            SECOND_ARGUMENT,
            &profile::REFUSED_IOCTLS,
            refuse(Errno::ENOTTY),
            allow,
        ),
        Verdict::Socket => {
            let families = &profile::REFUSED_FAMILIES;
            let mut program = one_of(FIRST_ARGUMENT, families, refuse(Errno::EPERM), allow);
            let known = program.len() - 1;
            let unknown = [
                branch(GREATER_OR_EQUAL, profile::UNKNOWN_FAMILY, 0, 1),
                refuse(Errno::EPERM),
            ];
            program.splice(known..known, unknown);
            program
        }
    }
}

/// Compares an argument with these values.
fn one_of(argument: u32, values: &[u32], then: Instruction, otherwise: Instruction) -> Vec<Instruction> {
    let mut program = vec![step(LOAD, argument)];
    for value in values {
        program.extend([branch(EQUAL, *value, 0, 1), then]);
    }
    program.push(otherwise);
    program
}

fn encode(program: &[Instruction]) -> Bpf {
    let instruction = |of: &Instruction| (of.code, of.jump_true, of.jump_false, of.value);
    Bpf(program.iter().map(instruction).collect())
}

/// The bit of a capability in a mask; none for a name that does not exist.
fn bit(capability: &str) -> u64 {
    LinuxCapabilities::number(capability).map_or(0, |number| 1 << number)
}
