//! The filter, run by an interpreter of its instructions for both architectures, and by the kernel for this one.

use std::collections::BTreeSet;

use nix::sched::CloneFlags;
use rstest::rstest;
use seccompiler::sock_filter;

use super::*;

const ALLOWED: u32 = ALLOW;
const EPERM: u32 = ERRNO | Errno::EPERM as u32;
const ENOTTY: u32 = ERRNO | Errno::ENOTTY as u32;
const ENOSYS: u32 = ERRNO | Errno::ENOSYS as u32;

const THREAD: u64 = 0x003d_0f00;
const NEW_USER: u64 = 0x1000_0000;

/// A system call as a filter sees it.
struct Call {
    number: u32,
    audit: u32,
    argument: u64,
}

/// Runs classic BPF, as far as seccomp(2) has it, over `struct seccomp_data`. A jump out of the program panics.
fn interpret(program: &[Instruction], call: &Call) -> u32 {
    let word = |offset| match offset {
        0 => call.number,
        4 => call.audit,
        // The first and the second.
        16 | 24 => call.argument as u32,
        20 | 28 => (call.argument >> 32) as u32,
        other => panic!("the filter reads offset {other}"),
    };
    let (mut at, mut loaded) = (0, 0);
    loop {
        let Instruction {
            code,
            jump_true,
            jump_false,
            value,
        } = program[at];
        let test = |holds| usize::from(if holds { jump_true } else { jump_false });
        at += 1 + match code {
            0x20 => {
                loaded = word(value);
                0
            }
            0x05 => value as usize,
            0x15 => test(loaded == value),
            0x35 => test(loaded >= value),
            0x45 => test(loaded & value != 0),
            0x06 => return value,
            other => panic!("unknown operation {other:#x}"),
        };
    }
}

/// What both architectures answer; panics when they differ, or neither has the call.
fn answer(name: &str, argument: u64, capabilities: &[&str]) -> u32 {
    let capabilities = capabilities.iter().fold(0, |mask, name| mask | bit(name));
    let answers: BTreeSet<u32> = [X86_64, AARCH64]
        .iter()
        .filter_map(|architecture| {
            let call = Call {
                number: (architecture.number)(name)?,
                audit: architecture.audit,
                argument,
            };
            Some(interpret(&compile(architecture, capabilities), &call))
        })
        .collect();
    assert_eq!(answers.len(), 1, "{name}: {answers:x?}");
    answers.into_iter().next().expect("one")
}

#[test]
fn ordinary_calls_are_allowed() {
    for name in [
        "read",
        "write",
        "openat",
        "open",
        "execve",
        "exit_group",
        "futex",
        "mmap",
        "ptrace",
        "process_vm_readv",
        "setxattrat",
        "mseal",
        "arch_prctl",
    ] {
        assert_eq!(answer(name, 0, &[]), ALLOWED, "{name}");
    }
}

#[test]
fn dangerous_calls_are_refused() {
    for name in [
        "mount",
        "umount2",
        "pivot_root",
        "open_tree",
        "move_mount",
        "fsopen",
        "chroot",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "request_key",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "userfaultfd",
        "perf_event_open",
        "open_by_handle_at",
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "finit_module",
        "delete_module",
        "reboot",
        "swapon",
        "acct",
        "iopl",
        "settimeofday",
        "sethostname",
        "syslog",
        "mbind",
        "kcmp",
        "vhangup",
        "quotactl",
        "uselib",
        "nfsservctl",
    ] {
        assert_eq!(answer(name, 0, &[]), EPERM, "{name}");
    }
}

#[rstest]
#[case("BPF", "bpf")]
#[case("DAC_READ_SEARCH", "open_by_handle_at")]
#[case("PERFMON", "perf_event_open")]
#[case("SYS_ADMIN", "bpf")]
#[case("SYS_ADMIN", "clone3")]
#[case("SYS_ADMIN", "mount")]
#[case("SYS_ADMIN", "perf_event_open")]
#[case("SYS_ADMIN", "setns")]
#[case("SYS_ADMIN", "syslog")]
#[case("SYS_ADMIN", "unshare")]
#[case("SYS_BOOT", "reboot")]
#[case("SYS_CHROOT", "chroot")]
#[case("SYS_MODULE", "init_module")]
#[case("SYS_NICE", "mbind")]
#[case("SYS_PACCT", "acct")]
#[case("SYS_PTRACE", "kcmp")]
#[case("SYS_RAWIO", "iopl")]
#[case("SYS_TIME", "settimeofday")]
#[case("SYS_TTY_CONFIG", "vhangup")]
#[case("SYSLOG", "syslog")]
fn a_capability_allows_its_calls(#[case] capability: &str, #[case] call: &str) {
    assert_eq!(answer(call, 0, &[capability]), ALLOWED);
    assert_ne!(answer(call, 0, &["CHOWN"]), ALLOWED);
    assert_eq!(answer("keyctl", 0, &[capability]), EPERM);
}

#[rstest]
#[case::thread("clone", THREAD, ALLOWED)]
#[case::fork("clone", 17, ALLOWED)]
#[case::user_namespace("clone", NEW_USER, EPERM)]
#[case::among_others("clone", THREAD | 0x2000_0000, EPERM)]
#[case::mount_namespace("clone", 0x0002_0000, EPERM)]
#[case::cgroup_namespace("clone", 0x0200_0000, EPERM)]
#[case::flags_in_memory("clone3", 0x7fff_0000_1000, ENOSYS)]
#[case::linux("personality", 0, ALLOWED)]
#[case::linux32("personality", 0x0008, ALLOWED)]
#[case::uname26("personality", 0x0002_0000, ALLOWED)]
#[case::question("personality", 0xffff_ffff, ALLOWED)]
#[case::no_randomization("personality", 0x0004_0000, EPERM)]
#[case::read_implies_exec("personality", 0x0040_0000, EPERM)]
#[case::unix("socket", 1, ALLOWED)]
#[case::inet("socket", 2, ALLOWED)]
#[case::netlink("socket", 16, ALLOWED)]
#[case::alg("socket", 38, EPERM)]
#[case::vsock("socket", 40, EPERM)]
#[case::given_up("socket", 12, EPERM)]
#[case::newest("socket", 45, ALLOWED)]
#[case::newer("socket", 46, EPERM)]
#[case::terminal_size("ioctl", 0x5413, ALLOWED)]
#[case::file_attributes("ioctl", 0x8008_6601, ALLOWED)]
#[case::new_file_attributes("ioctl", 0x4008_6602, ENOTTY)]
#[case::new_project("ioctl", 0x401c_5820, ENOTTY)]
#[case::new_project_with_bits_that_the_kernel_ignores("ioctl", 1 << 32 | 0x401c_5820, ENOTTY)]
#[case::vsock_with_bits_that_the_kernel_ignores("socket", 1 << 32 | 40, EPERM)]
fn arguments(#[case] call: &str, #[case] argument: u64, #[case] expected: u32) {
    assert_eq!(answer(call, argument, &[]), expected);
}

#[test]
fn sys_admin_may_clone_into_namespaces() {
    assert_eq!(answer("clone", NEW_USER, &["SYS_ADMIN"]), ALLOWED);
}

/// Newer than the profile, x32, and the number of nothing.
#[rstest]
#[case(467)]
#[case(100_000)]
#[case(0x4000_0000)]
#[case(u32::MAX)]
fn unknown_calls_do_not_exist(#[case] number: u32) {
    for architecture in [X86_64, AARCH64] {
        let audit = architecture.audit;
        let call = Call {
            number,
            audit,
            argument: 0,
        };
        assert_eq!(interpret(&compile(&architecture, 0), &call), ENOSYS);
    }
}

#[test]
fn calls_of_another_architecture_kill() {
    for audit in [0x4000_0003, AARCH64.audit, 0] {
        let call = Call {
            number: 0,
            audit,
            argument: 0,
        };
        assert_eq!(interpret(&compile(&X86_64, u64::MAX), &call), KILL_PROCESS);
    }
}

/// The tree gives each number its verdict, whatever the range it is in.
#[test]
fn every_number_gets_its_verdict() {
    for (architecture, capabilities) in [(X86_64, 0), (AARCH64, 0), (X86_64, u64::MAX)] {
        let named = verdicts(&architecture, capabilities);
        let program = compile(&architecture, capabilities);
        let newest = *named.keys().last().expect("the profile is not empty");
        for number in 0..=newest + 1 {
            let call = Call {
                number,
                audit: architecture.audit,
                argument: 0,
            };
            let expected = match named.get(&number) {
                Some(Verdict::Refuse(errno)) => ERRNO | *errno as u32,
                Some(_) => ALLOWED,
                None if number > newest => ENOSYS,
                None => EPERM,
            };
            assert_eq!(interpret(&program, &call), expected, "{number}");
        }
    }
}

/// A misspelled name would silently be refused.
#[test]
fn the_profile_names_system_calls_that_exist() {
    let guarded = profile::WITH_CAPABILITY.iter().flat_map(|(capability, names)| {
        assert_ne!(bit(capability), 0, "{capability}");
        names.split_whitespace()
    });
    for name in profile::ALLOWED.split_whitespace().chain(guarded) {
        let known = (X86_64.number)(name).or_else(|| (AARCH64.number)(name));
        assert!(known.is_some(), "{name}");
    }
}

#[test]
fn filters_are_made_once_for_the_capabilities_that_matter() {
    let chown = default_filter(bit("CHOWN"));
    assert!(Arc::ptr_eq(&chown, &default_filter(0)));
    assert_ne!(chown, default_filter(bit("SYS_ADMIN")));
}

/// The kernel takes the program, and a thread under it can work but not leave its namespaces.
#[test]
fn the_kernel_enforces_it() {
    let filter = default_filter(0);
    assert!(filter.0.len() <= 4096, "{} instructions", filter.0.len());
    let instruction = |&(code, jt, jf, k): &(u16, u8, u8, u32)| sock_filter { code, jt, jf, k };
    let program: Vec<sock_filter> = filter.0.iter().map(instruction).collect();
    let confined = std::thread::spawn(move || {
        // It holds for this thread alone.
        seccompiler::apply_filter(&program).expect("the kernel takes the filter");
        let read = std::fs::read("/proc/self/status").map(|text| text.is_empty());
        let spawned = std::thread::spawn(|| 1).join().ok();
        (
            read.ok(),
            spawned,
            nix::sched::unshare(CloneFlags::CLONE_NEWUSER),
            nix::mount::umount("/no-such-mount"),
        )
    });
    let expected = (Some(false), Some(1), Err(Errno::EPERM), Err(Errno::EPERM));
    assert_eq!(confined.join().expect("the thread ends"), expected);
}
