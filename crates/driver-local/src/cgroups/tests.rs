//! Groups of the real kernel, of whichever version it has, and groups of version 2 in a directory that stands in for it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use driver_types::SupportLevel;
use rstest::rstest;

use super::*;

#[rstest]
#[case(0.5, 50_000)]
#[case(2.0, 200_000)]
#[case(0.01, 1_000)]
#[case(0.015, 1_500)]
fn quotas(#[case] cores: f64, #[case] expected: u64) {
    assert_eq!(quota_us(cores), expected);
}

/// Groups of the real kernel, removed at the end with all that is in them.
struct Groups {
    cgroups: Cgroups,
    id: String,
    limits: ResourceLimits,
}

impl Groups {
    /// `None`, and a line that tells why, where this user cannot make groups.
    fn make() -> Option<Self> {
        let cgroups = Cgroups::detect().unwrap();
        if !rustix::process::geteuid().is_root() || matches!(cgroups, Cgroups::None { .. }) {
            eprintln!("skipped: {} for this user", cgroups.name());
            return None;
        }
        let id = crate::id::random().unwrap();
        let limits = ResourceLimits::default().memory(64).pids(20);
        assert!(!cgroups.create(&id, &limits).unwrap().is_empty());
        Some(Self { cgroups, id, limits })
    }

    /// A shell in the groups that has run these commands.
    fn shell(&self, commands: &str) -> Child {
        let groups = self.cgroups.of(&self.id).into_iter().map(|group| match group {
            Cgroup::V1(directory) | Cgroup::Shared(directory) => format!("{directory}/tasks"),
            Cgroup::V2(directory) => format!("{directory}/cgroup.procs"),
        });
        let script = format!("for file; do echo 0 > $file; done; {commands}\necho ready; read line");
        let mut shell = Command::new("sh")
            .args(["-c", &script, "sh"])
            .args(groups)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        shell
    }

    fn stats(&self) -> ContainerStats {
        self.cgroups.stats(&self.id).unwrap()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.cgroups.remove(&self.id).unwrap();
    }
}

#[test]
fn groups_are_made_with_their_limits_changed_and_removed() {
    let Some(groups) = Groups::make() else { return };
    let read = groups.stats();
    assert_eq!(read.memory.limit_bytes, Some(64 << 20));
    assert_eq!(read.pids.limit, Some(20));
    assert_eq!(read.memory.oom_kills, Some(0));
    let (cgroups, id, limits) = (&groups.cgroups, &groups.id, &groups.limits);
    let more = limits.memory(128).cpu(1.5).pids(30);
    cgroups.update(id, limits, &more).unwrap();
    let read = groups.stats();
    assert_eq!(read.memory.limit_bytes, Some(128 << 20));
    assert_eq!(read.pids.limit, Some(30));
    cgroups.update(id, &more, limits).unwrap();
    assert_eq!(groups.stats().memory.limit_bytes, Some(64 << 20));
    cgroups.remove(id).unwrap();
    cgroups.remove(id).unwrap();
    assert!(
        cgroups
            .directories(id)
            .iter()
            .all(|directory| !directory.exists())
    );
    let gone = io::ErrorKind::NotFound;
    assert_eq!(cgroups.stats(id).unwrap_err().kind(), gone);
    assert_eq!(cgroups.freeze(id).unwrap_err().kind(), gone);
    // Its next run will have them.
    cgroups.update(id, limits, &more).unwrap();
}

#[test]
fn prepared_groups_become_a_containers_with_who_is_in_them() {
    let Some(mut groups) = Groups::make() else { return };
    let Some(prepared) = groups.cgroups.prepare().unwrap() else {
        eprintln!("skipped: {} prepares none", groups.cgroups.name());
        return;
    };
    let (cgroups, limits) = (groups.cgroups.clone(), groups.limits);
    // Where they are to be renamed those of the test are in the way: then others are made, that is, these are used.
    let renames = cgroups.final_name(&prepared).is_none();
    let taken = cgroups.create_of(Some(&prepared), &groups.id, &limits);
    assert_eq!(taken.unwrap(), !renames);
    cgroups.remove(&prepared.name).unwrap();
    cgroups.remove(&groups.id).unwrap();

    let prepared = cgroups.prepare().unwrap().unwrap();
    let id = std::mem::replace(&mut groups.id, prepared.name.clone());
    let mut shell = groups.shell("true");
    let taken = cgroups.create_of(Some(&prepared), &id, &limits);
    groups.id = cgroups.final_name(&prepared).unwrap_or(id);
    assert!(taken.unwrap());
    let read = groups.stats();
    assert_eq!(read.memory.limit_bytes, Some(64 << 20));
    assert_eq!((read.pids.current, read.pids.limit), (Some(1), Some(20)));
    shell.kill().unwrap();
    shell.wait().unwrap();
}

/// With version 1 a container has the harmless devices only, whether it shares a group for that or not.
#[test]
fn devices_are_the_harmless_ones() {
    let Some(groups) = Groups::make() else { return };
    let all = groups.cgroups.of(&groups.id);
    let has_rules = |group: &&Cgroup| Path::new(group.path()).join("devices.list").exists();
    let Some(group) = all.iter().find(has_rules) else {
        eprintln!("skipped: no controller of devices");
        return;
    };
    let list = content(Path::new(group.path()), "devices.list");
    assert_eq!(list.lines().next(), Some("c 1:3 rwm"), "{list}");
    assert_eq!(list.lines().count(), 9, "{list}");
}

#[test]
fn what_processes_use_is_counted() {
    let Some(groups) = Groups::make() else { return };
    // A loop in the shell itself is on the processor for longer than a tick.
    let mut shell = groups.shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
    let read = groups.stats();
    assert_eq!(read.pids.current, Some(1));
    assert!(read.cpu.usage_nanos > Some(0), "{read:?}");
    assert!(read.cpu.throttled_periods.is_some(), "{read:?}");
    assert!(read.memory.current_bytes > Some(0), "{read:?}");
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn frozen_processes_stay_until_they_are_thawed() {
    let Some(groups) = Groups::make() else { return };
    let mut shell = groups.shell("true");
    for _ in 0..2 {
        groups.cgroups.freeze(&groups.id).unwrap();
    }
    // It would end.
    drop(shell.stdin.take());
    assert!(shell.try_wait().unwrap().is_none());
    groups.cgroups.thaw(&groups.id).unwrap();
    assert!(shell.wait().unwrap().code().is_some());
}

#[rstest]
#[case::running(false)]
#[case::frozen(true)]
fn removing_a_group_ends_who_is_in_it(#[case] frozen: bool) {
    let Some(groups) = Groups::make() else { return };
    let mut shell = groups.shell("sleep 600 & sleep 600 &");
    if frozen {
        groups.cgroups.freeze(&groups.id).unwrap();
    }
    assert_eq!(groups.stats().pids.current, Some(3));
    groups.cgroups.remove(&groups.id).unwrap();
    assert_eq!(shell.wait().unwrap().signal(), Some(9));
}

/// What cannot be reclaimed is in use; what can, gives way.
#[test]
fn less_memory_than_is_in_use_is_refused_and_nothing_changes() {
    let Some(groups) = Groups::make() else { return };
    // A variable of 20 MB.
    let mut shell = groups.shell("x=$(head -c 20000000 /dev/zero | tr '\\0' x)");
    let less = groups.limits.memory(8).pids(5);
    let refused = groups
        .cgroups
        .update(&groups.id, &groups.limits, &less)
        .unwrap_err();
    assert!(refused.to_string().contains("memory"), "{refused}");
    let read = groups.stats();
    assert_eq!(read.memory.limit_bytes, Some(64 << 20));
    assert_eq!(read.pids.limit, Some(20));
    assert_eq!(read.memory.oom_kills, Some(0));
    assert!(shell.try_wait().unwrap().is_none(), "it was killed");
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn processes_beyond_the_memory_limit_are_killed_and_counted() {
    let Some(groups) = Groups::make() else { return };
    let mut shell = groups.shell("(x=$(head -c 200000000 /dev/zero | tr '\\0' x)) 2>&1 | cat > /dev/null");
    let read = groups.stats();
    assert!(read.memory.oom_kills > Some(0), "{read:?}");
    assert!(read.memory.peak_bytes > Some(60 << 20), "{read:?}");
    shell.kill().unwrap();
    shell.wait().unwrap();
}

/// A directory with the files of a group of version 2.
fn stand_in() -> (tempfile::TempDir, V2) {
    let parent = tempfile::tempdir().unwrap();
    let v2 = V2::prepare(parent.path(), &["cpu", "memory", "pids"]).unwrap();
    (parent, v2)
}

fn content(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap()
}

#[test]
fn version_2_gets_its_limits() {
    let (parent, v2) = stand_in();
    for directory in [parent.path(), &parent.path().join(OWN)] {
        assert!(directory.join("cgroup.subtree_control").exists());
    }
    let limits = ResourceLimits::default().cpu(0.25).memory(100).pids(7);
    let cgroups = Cgroups::V2(v2.clone());
    let directory = v2.directory("one");
    let expected = Cgroup::V2(directory.to_string_lossy().into_owned());
    assert_eq!(cgroups.create("one", &limits).unwrap(), [expected]);
    assert_eq!(content(&directory, "cpu.max"), "25000 100000");
    assert_eq!(content(&directory, "memory.max"), "104857600");
    assert_eq!(content(&directory, "memory.swap.max"), "0");
    assert_eq!(content(&directory, "pids.max"), "7");
}

#[test]
fn a_limit_that_is_refused_is_named_and_the_others_are_undone() {
    let (_parent, v2) = stand_in();
    let limits = ResourceLimits::default();
    let cgroups = Cgroups::V2(v2.clone());
    cgroups.create("one", &limits).unwrap();
    let directory = v2.directory("one");
    // No file of this name can be written.
    fs::remove_file(directory.join("pids.max")).unwrap();
    fs::create_dir(directory.join("pids.max")).unwrap();
    let error = cgroups
        .update("one", &limits, &limits.memory(99).cpu(0.1))
        .unwrap_err();
    let details = serde_json::to_string(&error).unwrap();
    assert!(details.contains("\"/pids\""), "{details}");
    assert_eq!(content(&directory, "memory.max"), "536870912");
    assert_eq!(content(&directory, "cpu.max"), "50000 100000");
}

/// Texts of Linux 6.1.
#[test]
fn counters_of_version_2_are_read_and_what_is_not_there_is_absent() {
    let (_parent, v2) = stand_in();
    let directory = v2.directory("one");
    fs::create_dir(&directory).unwrap();
    let files = [
        (
            "cpu.stat",
            "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nnr_periods 9\nnr_throttled 2\nthrottled_usec 77\n",
        ),
        ("memory.current", "8192\n"),
        ("memory.max", "max\n"),
        (
            "memory.events",
            "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n",
        ),
        ("pids.current", "2\n"),
        ("pids.max", "20\n"),
    ];
    for (file, text) in files {
        fs::write(directory.join(file), text).unwrap();
    }
    let read = v2.stats("one").unwrap();
    assert_eq!(read.cpu.usage_nanos, Some(2_500_000));
    assert_eq!(read.cpu.throttled_nanos, Some(77_000));
    assert_eq!(read.cpu.throttled_periods, Some(2));
    assert_eq!(read.memory.current_bytes, Some(8192));
    assert_eq!(read.memory.limit_bytes, None);
    assert_eq!(read.memory.peak_bytes, None);
    assert_eq!(read.memory.oom_kills, Some(3));
    assert_eq!((read.pids.current, read.pids.limit), (Some(2), Some(20)));
    assert_eq!(read.block_io.read_bytes, None);
}

#[test]
fn a_controller_that_is_missing_is_told_and_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let v2 = V2::prepare(parent.path(), &["cpu", "pids"]).unwrap();
    let held = v2.held();
    assert_eq!(held.cpu.level, SupportLevel::Native);
    assert_eq!(held.memory.level, SupportLevel::None);
    assert!(held.memory.reason.is_some_and(|reason| reason.contains("memory")));
    Cgroups::V2(v2.clone())
        .create("one", &ResourceLimits::default())
        .unwrap();
    assert!(v2.directory("one").join("pids.max").exists());
    assert!(!v2.directory("one").join("memory.max").exists());
}
