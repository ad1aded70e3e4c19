//! What the kernel tells of processes of others.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::gettid;

use super::*;

/// As of an init whose shim was killed, by who may not look into /proc.
#[test]
fn the_kernel_tells_how_a_stranger_ended_once_it_is_reaped() {
    let mut stranger = Command::new("sh").args(["-c", "kill -9 $$"]).spawn().expect("sh");
    let pidfd = pidfd_open(Pid::from_child(&stranger), PidfdFlags::empty()).expect("a child");
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).expect("its end");
    let before = exit_status(&pidfd);
    let asking = gettid().as_raw_nonzero();
    let reaper = std::thread::spawn(move || {
        let stat = format!("/proc/self/task/{asking}/stat");
        while !fs::read_to_string(&stat).expect("a thread").contains(") S ") {
            std::thread::yield_now();
        }
        stranger.wait().expect("a child")
    });
    let status = remembered_status(&pidfd);
    reaper.join().expect("it has reaped");
    match (before, exit_status(&pidfd)) {
        (Ok(None), Ok(Some(9))) => assert_eq!(status, Some(9)),
        other => println!("skipped: the kernel tells nothing of who was reaped: {other:?}"),
    }
}
