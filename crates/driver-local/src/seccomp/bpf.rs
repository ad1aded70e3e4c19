//! The instructions of a filter (seccomp(2), `linux/filter.h`).

use std::collections::BTreeSet;

use driver_local_shim::Bpf;
use nix::libc;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const JUMP_GREATER_OR_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`. Arguments are of 64 bits; the lower half comes first on the architectures that are
/// supported.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOT_PERMITTED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// `AUDIT_ARCH_*` of `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// The flags of clone(2) that make namespaces.
const NAMESPACES: u32 = 0x7e02_0000;
/// The personalities that Docker's profile knows; the last one only asks.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const CAP_SYS_ADMIN: u32 = 21;

struct Assembler(Vec<u8>);

impl Assembler {
    fn push(&mut self, code: u16, if_true: u8, if_false: u8, value: u32) {
        self.0.extend(code.to_ne_bytes());
        self.0.extend([if_true, if_false]);
        self.0.extend(value.to_ne_bytes());
    }

    fn give(&mut self, answer: u32) {
        self.push(RETURN, 0, 0, answer);
    }

    /// For the call of this number: instructions of which the last returns. `count` is how many they are.
    fn for_call(&mut self, number: i64, count: u8, instructions: impl FnOnce(&mut Self)) {
        self.push(JUMP_EQUAL, 0, count, number as u32);
        instructions(self);
    }
}

/// The filter that allows these calls, and a few others by their first argument.
pub(super) fn compile(allowed: &BTreeSet<i64>, capabilities: u64) -> Bpf {
    let mut filter = Assembler(Vec::new());
    filter.push(LOAD, 0, 0, ARCHITECTURE);
    filter.push(JUMP_EQUAL, 1, 0, NATIVE);
    filter.give(libc::SECCOMP_RET_KILL_PROCESS);
    filter.push(LOAD, 0, 0, NUMBER);
    filter.for_call(libc::SYS_clone3, 1, |filter| filter.give(NOT_THERE));
    if capabilities & 1 << CAP_SYS_ADMIN == 0 {
        filter.for_call(libc::SYS_clone, 4, |filter| {
            filter.push(LOAD, 0, 0, FIRST_ARGUMENT);
            filter.push(JUMP_SET, 1, 0, NAMESPACES);
            filter.give(ALLOW);
            filter.give(NOT_PERMITTED);
        });
    }
    filter.for_call(libc::SYS_socket, 4, |filter| {
        filter.push(LOAD, 0, 0, FIRST_ARGUMENT);
        filter.push(JUMP_EQUAL, 1, 0, libc::AF_VSOCK as u32);
        filter.give(ALLOW);
        filter.give(NOT_PERMITTED);
    });
    let known = PERSONALITIES.len() as u8;
    filter.for_call(libc::SYS_personality, known + 3, |filter| {
        filter.push(LOAD, 0, 0, FIRST_ARGUMENT);
        for (index, personality) in (0..).zip(PERSONALITIES) {
            filter.push(JUMP_EQUAL, known - index, 0, personality);
        }
        filter.give(NOT_PERMITTED);
        filter.give(ALLOW);
    });
    for (low, high) in ranges(allowed) {
        filter.push(JUMP_GREATER_OR_EQUAL, 0, 2, low);
        filter.push(JUMP_GREATER, 1, 0, high);
        filter.give(ALLOW);
    }
    filter.push(JUMP_GREATER, 1, 0, super::table::NEWEST as u32);
    filter.give(NOT_PERMITTED);
    filter.give(NOT_THERE);
    Bpf(filter.0)
}

/// The numbers as ranges without gaps.
fn ranges(numbers: &BTreeSet<i64>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers.iter().map(|number| *number as u32) {
        match ranges.last_mut() {
            Some((_, high)) if *high + 1 == number => *high = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// An interpreter of the instructions above, for tests.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(crate) const ALLOW: u32 = super::ALLOW;
    pub(crate) const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

    pub(crate) fn errno(number: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | number as u32
    }

    /// What the filter answers to a call; without an architecture it is the native one.
    pub(crate) fn run(filter: &Bpf, architecture: Option<u32>, number: i64, first: u64) -> u32 {
        let instructions: Vec<&[u8; 8]> = filter.0.as_chunks().0.iter().collect();
        assert!(instructions.len() < 4096, "{} instructions", instructions.len());
        let (mut at, mut value) = (0, 0);
        loop {
            let [a, b, if_true, if_false, k @ ..] = instructions[at];
            let (code, k) = (u16::from_ne_bytes([*a, *b]), u32::from_ne_bytes(*k));
            let mut jump = |holds: bool| at += usize::from(if holds { *if_true } else { *if_false });
            match code {
                LOAD => {
                    value = match k {
                        NUMBER => number as u32,
                        ARCHITECTURE => architecture.unwrap_or(NATIVE),
                        FIRST_ARGUMENT => first as u32,
                        other => panic!("no field at {other}"),
                    };
                }
                JUMP_EQUAL => jump(value == k),
                JUMP_GREATER => jump(value > k),
                JUMP_GREATER_OR_EQUAL => jump(value >= k),
                JUMP_SET => jump(value & k != 0),
                RETURN => return k,
                other => panic!("no instruction {other}"),
            }
            at += 1;
        }
    }
}
