//! What is left behind of a state directory and its containers, looked for in the kernel and the file system.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::workload::MARK;

/// What the kernel takes away in the background gets this many looks.
pub(crate) const LOOKS: u32 = 600;
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Looks again until nothing is found, and tells what stays.
pub(crate) fn stays(look: impl Fn() -> Vec<String>) -> Vec<String> {
    let mut found = look();
    for _ in 0..LOOKS {
        if found.is_empty() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        found = look();
    }
    found
}

/// All paths below a directory, without what is in volumes or layers.
pub(crate) fn paths(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && !entry.path().components().any(|part| part.as_os_str() == "layers") {
                open.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// Everything of a state directory outside of it, and cgroups of these names.
pub(crate) fn in_kernel(state: &Path, ids: &BTreeSet<String>) -> Vec<String> {
    let mut found = mounts(state);
    found.extend(processes(state));
    found.extend(loops(state));
    found.extend(cgroups(ids));
    found.extend(networks(state));
    found
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

pub(crate) fn mounts(state: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter(|line| line.contains(&text(state)))
        .map(|line| format!("mount {line}"))
        .collect()
}

/// Processes with a descriptor into the state directory: shims, and all of a container, whose streams are there.
pub(crate) fn processes(state: &Path) -> Vec<String> {
    let own = std::process::id().to_string();
    let pids = all_pids()
        .into_iter()
        .filter(|pid| *pid != own && is_of(pid, state));
    pids.map(|pid| format!("process {pid}: {}", command_of(&pid)))
        .collect()
}

/// Whether a process has a file of this state directory open, or its host name from there.
fn is_of(pid: &str, state: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target.starts_with(state)) || is_named_by(pid, state)
}

/// One on a terminal has no pipe of the state directory. A mount is told by its path in the file system that it is of.
fn is_named_by(pid: &str, state: &Path) -> bool {
    let above = state.parent().and_then(Path::parent).unwrap_or(state);
    let own = state.strip_prefix(above).unwrap_or(state);
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let mut fields = table.lines().map(|line| line.split(' ').skip(3));
    fields.any(|mut fields| {
        let (root, point) = (fields.next().unwrap_or_default(), fields.next());
        point == Some("/etc/hostname") && root.contains(&text(own))
    })
}

fn command_of(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .replace('\0', " ")
}

fn all_pids() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

/// Whether processes of the container of this name live, of this state directory.
pub(crate) fn lives(state: &Path, name: &str) -> bool {
    let wanted = format!("{MARK}={name}\0").into_bytes();
    all_pids().iter().any(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(wanted.len()).any(|bytes| bytes == wanted) && is_of(pid, state)
    })
}

fn loops(state: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files
        .filter(|file| file.starts_with(&text(state)))
        .map(|file| format!("loop device of {file}"))
        .collect()
}

/// Directories of cgroups that bear one of these names.
pub(crate) fn cgroups(names: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match entry.file_name().to_str() {
                Some(name) if names.contains(name) => {
                    found.push(format!("cgroup {}", entry.path().display()))
                }
                _ => open.push(entry.path()),
            }
        }
    }
    found
}

/// Lines of the books of networks, and bridges and cables that stand in no book.
fn networks(state: &Path) -> Vec<String> {
    let books = fs::read_dir("/run/openagent-networks")
        .into_iter()
        .flatten()
        .flatten();
    let books: String = books
        // The next save writes over the draft of a killed one.
        .filter(|book| book.path().extension().is_some_and(|kind| kind == "json"))
        .filter_map(|book| fs::read_to_string(book.path()).ok())
        .collect();
    let mut found = Vec::new();
    if books.contains(&text(state)) {
        found.push(format!("a book of networks tells of {}", text(state)));
    }
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = links.filter_map(|link| link.file_name().into_string().ok());
    let own = names.filter(|name| name.starts_with("oa-") || name.starts_with("oav"));
    found.extend(
        own.filter(|name| !books.contains(&format!("\"{name}\"")))
            .map(|name| format!("interface {name}")),
    );
    found
}

/// How many descriptors this process has open.
pub(crate) fn descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// The resident memory of this process in KiB.
pub(crate) fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
