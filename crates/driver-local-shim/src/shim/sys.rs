//! The system calls that no library wraps, or only for programs with threads: the one module with unsafe code.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use driver_local_shim::Bpf;
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::MountAttrFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

use crate::clock::zombie_status;
use crate::ending::Ending;

/// What a fork gives to each of the two.
pub(crate) enum Fork {
    /// The process that was there before.
    Parent(Child),
    /// The new one. It must not return into the code of the parent, but end.
    Child,
}

/// A new process.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

impl Child {
    /// Ends it, and all of the pid namespace that it is the first of.
    pub(crate) fn kill(&self) {
        // It may have ended already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Whether it has ended, reaped or not.
    pub(crate) fn has_ended(&self) -> bool {
        let now = Timespec::default();
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// How a process ended that is no child of this one: as long as its parent has not reaped it, where this process may look
    /// at it, and afterwards where the kernel remembers (Linux 6.15).
    pub(crate) fn end_of_stranger(&self) -> Option<Ending> {
        let status = zombie_status(self.pid).or_else(|| remembered_status(&self.pidfd));
        status.map(Ending::of_wait_status)
    }

    /// Waits for its end; gives how it ended.
    pub(crate) fn wait(&self) -> Option<WaitIdStatus> {
        waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
            .ok()
            .flatten()
    }
}

/// `clone` as a fork: `namespaces` are flags `CLONE_NEW...`, `cgroup` is a directory of cgroup version 2 to begin in.
pub(crate) fn fork(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    let flags = namespaces as u64 | libc::CLONE_PIDFD as u64;
    let mut pidfd: RawFd = -1;
    let pid = match cgroup {
        // Not clone3, which filters refuse because they cannot see its flags.
        None => {
            let flags = flags | libc::SIGCHLD as u64;
            let none = std::ptr::null_mut::<c_void>();
            // SAFETY: without CLONE_VM the child has a copy of the memory, as after fork(2), and no stack is needed. This
            // program has one thread, so that no lock is held by another.
            unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) }
        }
        Some(cgroup) => {
            // SAFETY: all zeros are valid: no pointers, no flags.
            let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
            args.flags = flags | CLONE_INTO_CGROUP;
            args.pidfd = (&raw mut pidfd) as u64;
            args.exit_signal = libc::SIGCHLD as u64;
            args.cgroup = cgroup.as_raw_fd() as u64;
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) }
        }
    };
    match pid {
        0 => Ok(Fork::Child),
        1.. => {
            // SAFETY: the kernel has just made it for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid =
                Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("a process without a number"))?;
            Ok(Fork::Parent(Child { pid, pidfd }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `child` in a new process that shares the memory of this one, which waits until a program is executed or the process
/// has ended (vfork): nothing is copied. `child` must leave alone what this process goes on to use.
pub(crate) fn fork_to_execute<F: FnOnce() -> Infallible>(child: F) -> io::Result<Pid> {
    /// Far more than it takes to get from here to a program.
    const STACK: usize = 256 << 10;
    extern "C" fn begin<F: FnOnce() -> Infallible>(child: *mut c_void) -> i32 {
        // SAFETY: it is the pointer below, to a value that lives until this process has executed or ended, and that nobody
        // else touches.
        let child = unsafe { &mut *child.cast::<Option<F>>() }.take();
        match child.map(|child| child()) {
            Some(never) => match never {},
            None => 1,
        }
    }
    let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
    let mut child = Some(child);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone, of its alignment, and grows down from its end. This process has one thread, and
    // it goes on only when the child has done with the memory.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(stack.capacity());
        libc::clone(begin::<F>, top.cast(), flags, (&raw mut child).cast())
    };
    match pid {
        1.. => Pid::from_raw(pid).ok_or_else(io::Error::last_os_error),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends this process, past what the C library does at the end: it may share its memory with another.
pub(crate) fn end(code: u8) -> ! {
    // SAFETY: nothing of this process is left to go wrong.
    unsafe { libc::_exit(code.into()) }
}

/// The kernel's `struct pidfd_info`, in its first form.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// A parent, the host's pid 1, may be slow to reap, or never do it.
const REAPED_WITHIN: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// The status of wait(2) of a process that has ended: the kernel tells it once the parent has reaped that process.
fn remembered_status(pidfd: &OwnedFd) -> Option<i32> {
    match exit_status(pidfd) {
        Ok(None) => {
            // Nothing is asked for: what is told unasked is that there is no process any more.
            let _ = poll(
                &mut [PollFd::new(pidfd, PollFlags::empty())],
                Some(&REAPED_WITHIN),
            );
            exit_status(pidfd).ok().flatten()
        }
        other => other.ok().flatten(),
    }
}

/// What the kernel tells of the end of a process; `None` where it does not yet.
///
/// # Errors
///
/// A kernel that tells nothing of processes, or nothing of those that were reaped.
fn exit_status(pidfd: &OwnedFd) -> io::Result<Option<i32>> {
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info)
    const PIDFD_GET_INFO: libc::c_ulong =
        (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | 0xFF0B;
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the kernel writes no more than the size in the request, which is that of the structure.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    check(result.into())?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Closes all descriptors from `first` on, but for `kept`. What owned them must not be dropped afterwards.
pub(crate) fn close_from(first: RawFd, kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<RawFd> = kept
        .iter()
        .map(AsRawFd::as_raw_fd)
        .filter(|fd| *fd >= first)
        .collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept {
        if from < fd {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: the callers promise that nobody uses them.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds attributes to the mount at `fd`, and to those below where `recursive`. It hears no more of what is mounted elsewhere.
pub(crate) fn add_attributes(fd: impl AsFd, added: MountAttrFlags, recursive: bool) -> io::Result<()> {
    let attributes = MountAttributes {
        set: added.bits().into(),
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the pointers live as long as the call; the size is that of the structure.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
}

/// The kernel's `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct FileAttributes {
    flags: u32,
    extent_sizes: [u32; 2],
    project: u32,
    rest: [u32; 3],
}

impl FileAttributes {
    const PROJECT_INHERIT: u32 = 0x200;
    /// `_IOR('X', 31, struct fsxattr)` and `_IOW('X', 32, struct fsxattr)`.
    const GET: libc::c_ulong = 0x801c_581f;
    const SET: libc::c_ulong = 0x401c_5820;

    fn of(file: impl AsFd) -> io::Result<Self> {
        let mut found = Self::default();
        // SAFETY: the kernel writes no more than the size in the request, which is that of the structure.
        let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), Self::GET as _, &raw mut found) };
        check(result.into()).map(|()| found)
    }
}

/// The project id of a file.
pub(crate) fn project(file: impl AsFd) -> io::Result<u32> {
    FileAttributes::of(file).map(|found| found.project)
}

/// Gives a directory a project id; what is made in it has the same where `inherit`.
pub(crate) fn set_project(directory: impl AsFd, id: u32, inherit: bool) -> io::Result<()> {
    let mut attributes = FileAttributes::of(&directory)?;
    attributes.project = id;
    attributes.flags &= !FileAttributes::PROJECT_INHERIT;
    if inherit {
        attributes.flags |= FileAttributes::PROJECT_INHERIT;
    }
    let fd = directory.as_fd().as_raw_fd();
    // SAFETY: the kernel reads no more than the size in the request, which is that of the structure.
    let result = unsafe { libc::ioctl(fd, FileAttributes::SET as _, &raw const attributes) };
    check(result.into())
}

/// The kernel's `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    /// In KiB; 0: none.
    hard_blocks: u64,
    soft_blocks: u64,
    bytes: u64,
    hard_files: u64,
    soft_files: u64,
    files: u64,
    times: [u64; 2],
    valid: u32,
}

impl Quota {
    const GET: u32 = 0x80_0007;
    const SET: u32 = 0x80_0008;
    /// What is to be changed: the limits of blocks and of files.
    const LIMITS: u32 = 1 | 4;

    fn call(&mut self, command: u32, place: impl AsFd, project: u32) -> io::Result<()> {
        const PROJECTS: u32 = 2;
        // SAFETY: the kernel reads or writes a structure of this size.
        check(unsafe {
            libc::syscall(
                libc::SYS_quotactl_fd,
                place.as_fd().as_raw_fd(),
                command << 8 | PROJECTS,
                project,
                std::ptr::from_mut(self),
            )
        })
    }
}

/// How many files a project has in the file system of this place.
pub(crate) fn quota_files(place: impl AsFd, project: u32) -> io::Result<u64> {
    let mut quota = Quota::default();
    quota.call(Quota::GET, place, project)?;
    Ok(quota.files)
}

/// Sets the limits of a project in the file system of this place; 0: none.
pub(crate) fn set_quota(place: impl AsFd, project: u32, bytes: u64, files: u64) -> io::Result<()> {
    let mut quota = Quota {
        hard_blocks: bytes.div_ceil(1024),
        hard_files: files,
        valid: Quota::LIMITS,
        ..Quota::default()
    };
    quota.call(Quota::SET, place, project)
}

/// Sets all signals to their default dispositions. What the kernel refuses (of KILL, STOP) is so anyway.
///
/// Past the C library, which keeps two signals to itself and so would leave them as the driver had them.
pub(crate) fn default_signals() {
    const SIGNAL_SET_BYTES: usize = 8;
    // `struct sigaction` of the kernel, of no more than 32 bytes: all zeros are SIG_DFL without flags.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        let old = std::ptr::null_mut::<c_void>();
        // SAFETY: the kernel only reads; no function of ours is called by a default disposition.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                old,
                SIGNAL_SET_BYTES,
            )
        };
    }
}

/// Whether the kernel reaps the children of this process by itself.
pub(crate) fn reap_children_unasked(yes: bool) -> io::Result<()> {
    let handler = if yes { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: no function of ours is called by these dispositions.
    match unsafe { libc::signal(libc::SIGCHLD, handler) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A system call filter for this process and all that it starts.
pub(crate) fn set_seccomp_filter(program: &Bpf) -> io::Result<()> {
    let instruction = |(code, jt, jf, k): &(u16, u8, u8, u32)| libc::sock_filter {
        code: *code,
        jt: *jt,
        jf: *jf,
        k: *k,
    };
    let mut instructions: Vec<libc::sock_filter> = program.0.iter().map(instruction).collect();
    let filter = libc::sock_fprog {
        len: u16::try_from(instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        filter: instructions.as_mut_ptr(),
    };
    // SAFETY: the kernel copies what the pointers name before the call returns.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            (&raw const filter).cast::<c_void>(),
        )
    })
}

/// Leaves the session keyring of the host for an empty one.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name is an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<c_void>()) })
}

/// Sends a signal of any number, real-time ones too.
pub(crate) fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) }.into())
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
