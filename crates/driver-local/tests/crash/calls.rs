//! Which system calls change something that a crash could leave behind.

use std::fs;

use nix::sys::ptrace;
use nix::unistd::Pid;
use syscalls::Sysno;

/// A call at its entry: number and first three arguments.
#[derive(Clone, Copy)]
pub(crate) struct Entered {
    number: u64,
    arguments: [u64; 3],
}

/// Where a thread that has stopped for a call is.
pub(crate) enum State {
    Entry(Entered),
    Exit,
    Unknown,
}

#[cfg(target_arch = "x86_64")]
fn entered(pid: Pid) -> Option<Entered> {
    let registers = ptrace::getregs(pid).ok()?;
    Some(Entered {
        number: registers.orig_rax,
        arguments: [registers.rdi, registers.rsi, registers.rdx],
    })
}

#[cfg(target_arch = "aarch64")]
fn entered(pid: Pid) -> Option<Entered> {
    let registers = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(pid).ok()?.regs;
    Some(Entered {
        number: registers[8],
        arguments: [registers[0], registers[1], registers[2]],
    })
}

pub(crate) fn state(pid: Pid) -> State {
    match ptrace::syscall_info(pid).map(|info| info.op) {
        Ok(nix::libc::PTRACE_SYSCALL_INFO_ENTRY) => entered(pid).map_or(State::Unknown, State::Entry),
        Ok(nix::libc::PTRACE_SYSCALL_INFO_EXIT) => State::Exit,
        _ => State::Unknown,
    }
}

/// The name of a call that changes files, mounts, processes, networks or locks, or tells somebody something.
pub(crate) fn changes(pid: Pid, call: Entered) -> Option<&'static str> {
    let name = Sysno::new(usize::try_from(call.number).ok()?)?.name();
    let creates = |flags: u64| flags & nix::libc::O_CREAT as u64 != 0;
    let changes = match name {
        "open" => creates(call.arguments[1]),
        "openat" => creates(call.arguments[2]),
        // Of a runtime's own descriptors, and what the application says, nobody knows after a crash.
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "splice" | "sendto" | "sendmsg"
        | "ftruncate" | "fallocate" => matters(pid, call.arguments[0]),
        "clone" | "clone3" | "fork" | "vfork" => !is_thread(call, name),
        "execve" | "execveat" | "setns" | "unshare" | "flock" | "kill" | "pidfd_send_signal" => true,
        "mount" | "umount2" | "move_mount" | "fsmount" | "open_tree" | "mount_setattr" | "pivot_root" => true,
        "truncate" | "fsync" | "fdatasync" | "copy_file_range" | "sendfile" | "bind" | "connect" => true,
        _ => [
            "mkdir",
            "rmdir",
            "rename",
            "unlink",
            "link",
            "symlink",
            "mknod",
            "chmod",
            "fchmod",
            "chown",
            "fchown",
            "lchown",
            "setxattr",
            "lsetxattr",
            "fsetxattr",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix)),
    };
    changes.then_some(name)
}

fn matters(pid: Pid, descriptor: u64) -> bool {
    let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap_or_default();
    let target = target.to_string_lossy();
    descriptor > 2 && !target.starts_with("anon_inode:")
}

fn is_thread(call: Entered, name: &str) -> bool {
    // The flags of clone3 are in memory; only the C library uses it, for threads and for spawns.
    name == "clone" && call.arguments[0] & nix::libc::CLONE_THREAD as u64 != 0
}
