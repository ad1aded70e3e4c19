//! The journal of a container: records in a file, and the one function that makes a status of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use driver_types::{
    ContainerStatus, ExitInfo, ExitReason, NetworkAddress, PublishedPort, ResourceLimits, Signal,
};
use serde::{Deserialize, Serialize};

/// One line of a journal. Times are epoch milliseconds, runs count from 0. The shim writes `forked`, `started`, `oom` and `exited`
/// (`driver_local_shim::record`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Record {
    /// A run is about to begin; cgroups of it may exist from here on.
    Starting {
        run: u32,
        /// The name of those, where it is not the container's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<String>,
        at: u64,
    },
    /// The run has a first process, whose program is about to begin. Only of a container without cgroups: others tell which
    /// processes they have.
    Forked {
        run: u32,
        init_pid: i32,
        init_start_time: u64,
        boot_id: String,
    },
    /// The main process has been executed.
    Started {
        run: u32,
        init_pid: i32,
        init_start_time: u64,
        boot_id: String,
        at: u64,
    },
    /// What a run that is about to begin has of its network.
    Network {
        run: u32,
        address: NetworkAddress,
        ports: Vec<PublishedPort>,
        at: u64,
    },
    /// The run that was about to begin did not; nothing is left of it.
    StartFailed { run: u32, at: u64 },
    /// The processes are frozen.
    Paused { run: u32, at: u64 },
    /// They go on.
    Resumed { run: u32, at: u64 },
    /// Somebody asked for the end of the run.
    Stopping { run: u32, at: u64 },
    /// A removal by force ends the run.
    Killing { run: u32, at: u64 },
    /// The kernel killed a process for the memory limit.
    Oom { run: u32, at: u64 },
    /// The run has ended and its log is complete.
    Exited {
        run: u32,
        code: i32,
        signal: Option<i32>,
        oom: bool,
        /// Nothing of it is left in cgroups.
        #[serde(default)]
        clean: bool,
        at: u64,
    },
    /// A shim goes on where the one before was killed.
    Adopted { run: u32, at: u64 },
    /// The run has ended, and nobody knows how.
    Lost { run: u32, at: u64 },
    /// The limits were changed.
    Limits { limits: ResourceLimits, at: u64 },
    /// The container is being removed.
    Removing { at: u64 },
}

/// What a journal says of its container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Story {
    /// The run that began last, if any began.
    pub(crate) run: Option<Run>,
    /// The number of the next run: attempts that failed do not count.
    pub(crate) next_run: u32,
    /// A run that was announced and neither began nor failed: its driver was killed, or is at it.
    pub(crate) starting: Option<u32>,
    /// Whether cgroups or processes of a run may be there.
    pub(crate) has_leftovers: bool,
    /// The name of its cgroups, where it is not the container's id.
    pub(crate) cgroup: Option<String>,
    /// The first process of the run that was announced, where nothing else would lead to it.
    pub(crate) forked: Option<Init>,
    /// The address and the ports of the host of a run, by its number.
    pub(crate) network: Option<(u32, NetworkAddress, Vec<PublishedPort>)>,
    /// The limits, where they were changed.
    pub(crate) limits: Option<ResourceLimits>,
    /// Whether it is being removed.
    pub(crate) removing: bool,
}

/// The first process of a run, in the driver's pid namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Init {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
    /// The boot of the machine in which these numbers mean something.
    pub(crate) boot_id: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) number: u32,
    pub(crate) init: Init,
    pub(crate) started_at: u64,
    pub(crate) paused: bool,
    pub(crate) stopping: bool,
    pub(crate) killing: bool,
    pub(crate) oom: bool,
    pub(crate) exit: Option<ExitInfo>,
    /// It ended without a word.
    pub(crate) lost: bool,
}

impl Story {
    /// The status that follows. A run of an earlier boot, or whose shim is dead, is for the caller to find out.
    pub(crate) fn status(&self) -> ContainerStatus {
        match &self.run {
            _ if self.removing => ContainerStatus::Removing,
            None => ContainerStatus::Created,
            Some(run) if run.lost => ContainerStatus::Dead,
            Some(Run { exit: Some(exit), .. }) if exit.reason == ExitReason::Stopped => {
                ContainerStatus::Stopped
            }
            Some(Run { exit: Some(_), .. }) => ContainerStatus::Exited,
            Some(run) if run.paused => ContainerStatus::Paused,
            Some(_) => ContainerStatus::Running,
        }
    }

    /// Adds a record. One of a run that is not the last changes nothing: its writer was late.
    pub(crate) fn add(&mut self, record: &Record) {
        match record {
            Record::Starting { run, cgroup, .. } => {
                self.starting = Some(*run);
                self.forked = None;
                self.has_leftovers = true;
                self.cgroup.clone_from(cgroup);
            }
            Record::Forked {
                run,
                init_pid,
                init_start_time,
                boot_id,
            } => {
                if self.starting == Some(*run) {
                    self.forked = Some(Init {
                        pid: *init_pid,
                        start_time: *init_start_time,
                        boot_id: boot_id.clone(),
                    });
                }
            }
            Record::Started {
                run,
                init_pid,
                init_start_time,
                boot_id,
                at,
            } => {
                // Two runs never begin in the same millisecond.
                let before = self.run.as_ref().map_or(0, |run| run.started_at + 1);
                self.starting = None;
                self.forked = None;
                self.next_run = run + 1;
                self.run = Some(Run {
                    number: *run,
                    init: Init {
                        pid: *init_pid,
                        start_time: *init_start_time,
                        boot_id: boot_id.clone(),
                    },
                    started_at: (*at).max(before),
                    paused: false,
                    stopping: false,
                    killing: false,
                    oom: false,
                    exit: None,
                    lost: false,
                });
            }
            Record::Network {
                run, address, ports, ..
            } => self.network = Some((*run, address.clone(), ports.clone())),
            Record::StartFailed { run, .. } => {
                if self.starting == Some(*run) {
                    self.starting = None;
                    self.forked = None;
                }
            }
            Record::Paused { run, .. } => self.on(*run, |run| run.paused = true),
            Record::Resumed { run, .. } => self.on(*run, |run| run.paused = false),
            Record::Stopping { run, .. } => self.on(*run, |run| run.stopping = true),
            Record::Killing { run, .. } => self.on(*run, |run| run.killing = true),
            Record::Oom { run, .. } => self.on(*run, |run| run.oom = true),
            Record::Exited {
                run,
                code,
                signal,
                oom,
                clean,
                at,
            } => {
                let is_last = self.run.as_ref().is_some_and(|last| last.number == *run);
                // A run that was announced meanwhile may have made some.
                if *clean && is_last && self.starting.is_none() {
                    self.has_leftovers = false;
                }
                self.on(*run, |run| {
                    run.oom |= *oom;
                    run.lost = false;
                    let signal = signal.and_then(Signal::from_number);
                    run.exit = Some(ExitInfo {
                        exit_code: Some(*code),
                        signal,
                        reason: run.reason(signal.is_some()),
                        finished_at: (*at).max(run.started_at),
                    });
                });
            }
            Record::Adopted { run, .. } => self.on(*run, |run| run.lost = false),
            Record::Lost { run, .. } => self.on(*run, |run| run.lost = true),
            Record::Limits { limits, .. } => self.limits = Some(*limits),
            Record::Removing { .. } => self.removing = true,
        }
    }

    /// The run that is under way has no shim any more.
    pub(crate) fn lose(&mut self) {
        if let Some(run) = &mut self.run {
            run.lost = true;
        }
    }

    fn on(&mut self, number: u32, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self
            .run
            .as_mut()
            .filter(|run| run.number == number && run.exit.is_none())
        {
            change(run);
        }
    }
}

impl Run {
    fn reason(&self, signaled: bool) -> ExitReason {
        match () {
            () if self.stopping => ExitReason::Stopped,
            () if self.killing => ExitReason::Removed,
            () if self.oom => ExitReason::Oom,
            () if signaled => ExitReason::Signaled,
            () => ExitReason::Exited,
        }
    }
}

/// Appends a record: one write, so that lines of several writers never mix.
///
/// # Errors
///
/// Those of the file.
pub(crate) fn append(path: &Path, record: &Record) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    let mut file: File = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(&line)
}

/// The records of whole lines in `bytes`, and how many bytes those lines have. A line that is no record (of a later
/// version, or torn by a crash and ended by the next writer) is passed over.
pub(crate) fn parse(bytes: &[u8]) -> (Vec<Record>, usize) {
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let records = bytes[..whole]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    (records, whole)
}

#[cfg(test)]
mod tests {
    use driver_local_shim::record;
    use rstest::rstest;

    use super::*;

    fn starts(run: u32, at: u64) -> Record {
        let cgroup = None;
        Record::Starting { run, cgroup, at }
    }

    fn story(lines: &[String]) -> Story {
        let mut story = Story::default();
        let (records, _) = parse(lines.concat().as_bytes());
        assert_eq!(records.len(), lines.concat().lines().count(), "{lines:?}");
        records.iter().for_each(|record| story.add(record));
        story
    }

    fn line(record: &Record) -> String {
        format!("{}\n", serde_json::to_string(record).expect("it is JSON"))
    }

    fn started(run: u32) -> String {
        record::started(run, 77, 1234, "boot", 1000)
    }

    fn starting(run: u32) -> String {
        line(&starts(run, 999)) + &started(run)
    }

    #[rstest]
    #[case(&[], ContainerStatus::Created)]
    #[case(&[line(&starts(0, 1))], ContainerStatus::Created)]
    #[case(&[started(0)], ContainerStatus::Running)]
    #[case(&[started(0), line(&Record::Paused { run: 0, at: 1 })], ContainerStatus::Paused)]
    #[case(&[started(0), record::exited(0, 3, None, false, true, 2)], ContainerStatus::Exited)]
    #[case(&[started(0), line(&Record::Stopping { run: 0, at: 1 }), record::exited(0, 143, Some(15), false, true, 2)], ContainerStatus::Stopped)]
    #[case(&[started(0), line(&Record::Lost { run: 0, at: 1 })], ContainerStatus::Dead)]
    #[case(&[started(0), record::exited(0, 0, None, false, true, 2), started(1)], ContainerStatus::Running)]
    #[case(&[started(0), line(&Record::Lost { run: 0, at: 1 }), record::adopted(0, 2)], ContainerStatus::Running)]
    #[case(&[started(0), record::lost(0, 1), record::exited(0, 3, None, false, true, 2)], ContainerStatus::Exited)]
    #[case(&[line(&Record::Removing { at: 1 })], ContainerStatus::Removing)]
    fn status(#[case] lines: &[String], #[case] expected: ContainerStatus) {
        assert_eq!(story(lines).status(), expected);
    }

    #[rstest]
    #[case(&[], record::exited(0, 3, None, false, true, 2), ExitReason::Exited)]
    #[case(&[], record::exited(0, 137, Some(9), false, true, 2), ExitReason::Signaled)]
    #[case(&[], record::exited(0, 0, None, true, true, 2), ExitReason::Oom)]
    #[case(&[record::out_of_memory(0, 1)], record::exited(0, 137, Some(9), false, true, 2), ExitReason::Oom)]
    #[case(&[line(&Record::Killing { run: 0, at: 1 })], record::exited(0, 137, Some(9), false, true, 2), ExitReason::Removed)]
    fn reasons(#[case] before: &[String], #[case] exited: String, #[case] expected: ExitReason) {
        let lines = [&[started(0)], before, &[exited]].concat();
        let run = story(&lines).run.expect("a run");
        assert_eq!(run.exit.map(|exit| exit.reason), Some(expected));
    }

    /// Only as long as nothing else leads to it.
    #[rstest]
    #[case(&[line(&starts(0, 1)), record::forked(0, 77, 1234, "boot")], Some(77))]
    #[case(&[line(&starts(1, 1)), record::forked(0, 77, 1234, "boot")], None)]
    #[case(&[line(&starts(0, 1)), record::forked(0, 77, 1234, "boot"), started(0)], None)]
    #[case(&[line(&starts(0, 1)), record::forked(0, 77, 1234, "boot"), line(&Record::StartFailed { run: 0, at: 2 })], None)]
    #[case(&[line(&starts(0, 1)), record::forked(0, 77, 1234, "boot"), line(&starts(0, 3))], None)]
    fn forked(#[case] lines: &[String], #[case] pid: Option<i32>) {
        let forked = story(lines).forked;
        assert_eq!(forked.as_ref().map(|init| init.pid), pid);
        assert!(forked.is_none_or(|init| (init.start_time, init.boot_id.as_str()) == (1234, "boot")));
    }

    #[rstest]
    #[case(&[], false)]
    #[case(&[line(&starts(0, 1))], true)]
    #[case(&[line(&starts(0, 1)), line(&Record::StartFailed { run: 0, at: 2 })], true)]
    #[case(&[starting(0), record::exited(0, 0, None, false, true, 2)], false)]
    #[case(&[starting(0), record::exited(0, 0, None, false, false, 2)], true)]
    #[case(&[starting(0), record::lost(0, 2)], true)]
    #[case(&[starting(0), record::exited(0, 0, None, false, true, 2), line(&starts(1, 3))], true)]
    #[case(&[starting(0), record::lost(0, 2), starting(1), record::exited(0, 0, None, false, true, 2)], true)]
    fn cgroups(#[case] lines: &[String], #[case] expected: bool) {
        assert_eq!(story(lines).has_leftovers, expected);
    }

    #[test]
    fn the_name_of_cgroups_is_that_of_the_last_run() {
        let cgroup = Some("prepared".to_owned());
        let named = Record::Starting {
            run: 0,
            cgroup: cgroup.clone(),
            at: 1,
        };
        let lines = [line(&named), started(0), record::lost(0, 2)];
        assert_eq!(story(&lines).cgroup, cgroup);
        let again = [&lines[..], &[starting(1)]].concat();
        assert_eq!(story(&again).cgroup, None);
    }

    #[test]
    fn a_late_record_of_another_run_changes_nothing() {
        let lines = [
            started(0),
            record::exited(0, 0, None, false, true, 2),
            started(1),
            record::exited(0, 9, None, false, true, 3),
        ];
        assert_eq!(story(&lines).status(), ContainerStatus::Running);
        assert_eq!(story(&lines).next_run, 2);
    }

    #[test]
    fn torn_and_foreign_lines_are_passed_over() {
        let text = format!("{}{{\"future\":{{}}}}\n{{\"exited\":{{\"run\":0", started(0));
        let (records, length) = parse(text.as_bytes());
        assert_eq!(records.len(), 1);
        assert_eq!(&text[length..], "{\"exited\":{\"run\":0");
    }
}
