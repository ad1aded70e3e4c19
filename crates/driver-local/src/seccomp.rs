//! The default system call filter: Docker's default profile (moby `profiles/seccomp`) for the native architecture, as BPF.
//!
//! What is not allowed fails with EPERM; what is newer than the table with ENOSYS, so that C libraries fall back to older
//! calls; so does `clone3`, whose flags a filter cannot see (`clone`'s are checked). Calls of another architecture kill the process.

mod bpf;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use driver_local_shim::Bpf;

/// The filter for processes with these capabilities: calls that need one are allowed where they have it.
pub(crate) fn default_filter(capabilities: u64) -> Arc<Bpf> {
    static FILTERS: OnceLock<Mutex<HashMap<u64, Arc<Bpf>>>> = OnceLock::new();
    let filters = FILTERS.get_or_init(Mutex::default);
    let mut filters = filters.lock().unwrap_or_else(PoisonError::into_inner);
    let filter = filters
        .entry(capabilities)
        .or_insert_with(|| Arc::new(bpf::compile(&table::allowed(capabilities), capabilities)));
    Arc::clone(filter)
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use rstest::rstest;

    use super::bpf::testing::{ALLOW, KILL, errno, run};
    use super::*;

    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const NEWUSER: u64 = 0x1000_0000;
    /// The flags with which a thread is made.
    const THREAD: u64 = 0x3d_0f00;

    #[rstest]
    #[case::read(libc::SYS_read, 0, ALLOW)]
    #[case::openat(libc::SYS_openat, 0, ALLOW)]
    #[case::execve(libc::SYS_execve, 0, ALLOW)]
    #[case::thread(libc::SYS_clone, THREAD, ALLOW)]
    #[case::user_namespace(libc::SYS_clone, THREAD | NEWUSER, errno(libc::EPERM))]
    #[case::clone3(libc::SYS_clone3, 0, errno(libc::ENOSYS))]
    #[case::inet(libc::SYS_socket, libc::AF_INET as u64, ALLOW)]
    #[case::vsock(libc::SYS_socket, libc::AF_VSOCK as u64, errno(libc::EPERM))]
    #[case::linux_personality(libc::SYS_personality, 0, ALLOW)]
    #[case::odd_personality(libc::SYS_personality, 0x4_0000, errno(libc::EPERM))]
    #[case::mount(libc::SYS_mount, 0, errno(libc::EPERM))]
    #[case::unshare(libc::SYS_unshare, 0, errno(libc::EPERM))]
    #[case::setns(libc::SYS_setns, 0, errno(libc::EPERM))]
    #[case::bpf(libc::SYS_bpf, 0, errno(libc::EPERM))]
    #[case::keyctl(libc::SYS_keyctl, 0, errno(libc::EPERM))]
    #[case::io_uring(libc::SYS_io_uring_setup, 0, errno(libc::EPERM))]
    #[case::userfaultfd(libc::SYS_userfaultfd, 0, errno(libc::EPERM))]
    #[case::perf(libc::SYS_perf_event_open, 0, errno(libc::EPERM))]
    #[case::by_handle(libc::SYS_open_by_handle_at, 0, errno(libc::EPERM))]
    #[case::kexec(libc::SYS_kexec_load, 0, errno(libc::EPERM))]
    #[case::module(libc::SYS_init_module, 0, errno(libc::EPERM))]
    #[case::newer(9_000, 0, errno(libc::ENOSYS))]
    fn without_capabilities(#[case] number: i64, #[case] first: u64, #[case] expected: u32) {
        assert_eq!(run(&default_filter(0), None, number, first), expected);
    }

    #[test]
    fn a_capability_opens_its_calls() {
        let filter = default_filter(CAP_SYS_ADMIN);
        for number in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_setns, libc::SYS_bpf] {
            assert_eq!(run(&filter, None, number, 0), ALLOW, "{number}");
        }
        assert_eq!(run(&filter, None, libc::SYS_clone, NEWUSER), ALLOW);
        assert_eq!(run(&filter, None, libc::SYS_init_module, 0), errno(libc::EPERM));
    }

    #[test]
    fn another_architecture_is_killed() {
        const I386: u32 = 0x4000_0003;
        assert_eq!(run(&default_filter(0), Some(I386), libc::SYS_read, 0), KILL);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn x32_calls_are_not_there() {
        let x32 = libc::SYS_read | 0x4000_0000;
        assert_eq!(run(&default_filter(0), None, x32, 0), errno(libc::ENOSYS));
    }
}
