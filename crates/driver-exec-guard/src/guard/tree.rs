//! The tree below the guard. The guard is a child subreaper, so every descendant, however it detached itself, has it
//! as an ancestor.

use std::collections::{HashMap, HashSet};
use std::{fs, io};

use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::stat;

/// How often a freeze looks for newly forked processes before it kills what it has.
const FREEZE_ROUNDS: usize = 16;

/// All descendants, dead ones that nobody has reaped yet included.
pub(super) fn descendants() -> io::Result<HashSet<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        if let Ok(parent) = stat::parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = HashSet::new();
    let mut open = vec![getpid().as_raw_nonzero().get()];
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).into_iter().flatten() {
            found.insert(child);
            open.push(child);
        }
    }
    Ok(found)
}

/// Sends a signal to every descendant.
pub(super) fn signal(signal: Signal) -> io::Result<()> {
    descendants().map(|pids| send(&pids, signal))
}

/// Freezes the tree until nothing new appears, then kills it: a tree that forks faster than it is listed cannot run
/// away.
pub(super) fn kill() -> io::Result<()> {
    let mut frozen = HashSet::new();
    for _ in 0..FREEZE_ROUNDS {
        let fresh: HashSet<i32> = descendants()?.difference(&frozen).copied().collect();
        if fresh.is_empty() {
            break;
        }
        send(&fresh, Signal::STOP);
        frozen.extend(fresh);
    }
    send(&frozen, Signal::KILL);
    Ok(())
}

/// Errors mean that the process has ended, or belongs to another user; the next listing tells.
fn send(pids: &HashSet<i32>, signal: Signal) {
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
