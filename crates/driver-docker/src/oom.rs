//! Which run ran out of memory: the engine's flag, the engine's event and the kernel's log, joined by container.
//!
//! Times decide which run something is about. The engine writes down a start after the program began and a death
//! before it tells it, so a death and what was told of it lie between the start of their run and that of the next.

use driver_types::ExitInfo;

use crate::engine::Engine;
use crate::instance;
use crate::records::{Memory, Record};
use crate::time::parse_ms;
use crate::wire::Inspect;

/// How far the kernel's clock may be from the engine's for a run that the driver did not see, and how long before the
/// start that the engine notes a program may have run.
const SLACK_MS: u64 = 2_000;

/// What a death means for those who are told of it.
pub(crate) struct Death {
    pub(crate) exit: ExitInfo,
    /// Whether they must be told of the lack of memory first: the engine did not.
    pub(crate) untold_oom: bool,
}

/// Notes the run that the engine reports, looks in the kernel's log if it has ended, and gives what is remembered.
pub(crate) fn see_run(engine: &Engine, record: &Record, inspect: &Inspect) -> Memory {
    record.remember(|memory| {
        memory.saw_run(&inspect.state.started_at);
        if let Some(exit) = instance::exit(inspect, memory)
            && !memory.is_oom(inspect)
        {
            memory.look_after_end(engine, inspect, exit);
        }
        memory.clone()
    })
}

impl Memory {
    /// Whether the run that the engine reports ran out of memory.
    pub(crate) fn is_oom(&self, inspect: &Inspect) -> bool {
        // The flag is true as well where only a child was killed and the main process ended by itself. Where the event
        // comes after the death, the flag stays false. An event of an older run came before this one's start.
        let told = self.oom_at.is_some() && self.oom_at >= parse_ms(&inspect.state.started_at);
        inspect.state.oom_killed || told
    }

    fn look_after_end(&mut self, engine: &Engine, inspect: &Inspect, exit: ExitInfo) {
        let log = &engine.kernel_log;
        let ended_at = exit.finished_at;
        let found = match self.start_asked_at {
            Some(asked) if asked < ended_at => log.take(&inspect.id),
            // An old answer, overtaken by a start.
            Some(_) => false,
            None => {
                let started_at = parse_ms(&inspect.state.started_at).unwrap_or(ended_at);
                let (from, to) = (
                    started_at.saturating_sub(SLACK_MS),
                    ended_at.saturating_add(SLACK_MS),
                );
                let kill = log.told_between(&inspect.id, from, to, self.oom_kill);
                self.oom_kill = kill.or(self.oom_kill);
                kill.is_some()
            }
        };
        if found {
            self.oom_at = Some(ended_at);
            // Its death was told before this driver could hear it: the next death is of another run.
            if ended_at < log.opened_at && self.last_death.is_none() {
                self.last_death = Some(exit);
            }
        }
    }

    /// The engine tells that the container ran out of memory. Whether that is news.
    pub(crate) fn told_oom(&mut self, at: u64) -> bool {
        if self.was_told_at_death() {
            return false;
        }
        self.oom_at = Some(at);
        self.oom_told = Some(at);
        true
    }

    /// The engine tells that a run has begun: what it says of memory from now on is of this one.
    pub(crate) fn began(&mut self) {
        if self.was_told_at_death() {
            self.oom_told = None;
        }
    }

    fn was_told_at_death(&self) -> bool {
        self.oom_told.is_some() && self.oom_told == self.last_death_at()
    }

    /// The engine tells a death; `killed` asks the kernel's log.
    pub(crate) fn died(&mut self, mut exit: ExitInfo, killed: impl FnOnce() -> bool) -> Death {
        let at = exit.finished_at;
        // A word that comes after this driver has started the next run: what the log has now may be of that one.
        let is_late = self.start_asked_at >= Some(at);
        if !is_late && killed() {
            self.oom_at = Some(at);
        }
        let began_after = self.last_death_at().max(self.start_asked_at.filter(|_| !is_late));
        let is_oom = self.oom_at > began_after;
        let untold_oom = is_oom && self.oom_told <= began_after;
        if is_oom {
            exit.reason = driver_types::ExitReason::Oom;
        }
        if untold_oom {
            self.oom_told = Some(at);
        }
        self.last_death = Some(exit.clone());
        Death { exit, untold_oom }
    }

    fn last_death_at(&self) -> Option<u64> {
        self.last_death.as_ref().map(|death| death.finished_at)
    }
}

#[cfg(test)]
mod tests {
    use driver_types::{ExitReason, Signal};

    use super::*;

    fn killed_at(finished_at: u64) -> ExitInfo {
        ExitInfo {
            exit_code: Some(137),
            signal: Some(Signal::KILL),
            reason: ExitReason::Signaled,
            finished_at,
        }
    }

    fn inspect(started_at: &str) -> Inspect {
        let mut inspect = Inspect::default();
        inspect.state.started_at = started_at.into();
        inspect
    }

    fn died(memory: &mut Memory, at: u64, killed: bool) -> (ExitReason, bool) {
        let death = memory.died(killed_at(at), || killed);
        (death.exit.reason, death.untold_oom)
    }

    #[test]
    fn the_kernels_word_is_told_once_and_the_engines_late_one_is_no_news() {
        let mut memory = Memory::default();
        assert_eq!(died(&mut memory, 10, true), (ExitReason::Oom, true));
        assert!(!memory.told_oom(11));
        memory.began();
        assert!(memory.told_oom(20));
        assert_eq!(died(&mut memory, 21, true), (ExitReason::Oom, false));
    }

    #[test]
    fn the_engines_word_is_enough() {
        let mut memory = Memory::default();
        assert!(memory.told_oom(9));
        // Each kill of a child is told.
        assert!(memory.told_oom(10));
        assert_eq!(died(&mut memory, 11, false), (ExitReason::Oom, false));
    }

    #[test]
    fn a_later_run_inherits_nothing() {
        let mut memory = Memory::default();
        assert_eq!(died(&mut memory, 1_000, true), (ExitReason::Oom, true));
        assert!(memory.is_oom(&inspect("1970-01-01T00:00:00.900Z")));
        assert!(!memory.is_oom(&inspect("1970-01-01T00:00:01.100Z")));
        memory.began();
        assert_eq!(died(&mut memory, 2_000, false), (ExitReason::Signaled, false));
        assert!(!memory.is_oom(&inspect("1970-01-01T00:00:01.100Z")));
    }

    #[test]
    fn what_was_found_before_the_drivers_own_start_is_not_of_its_run() {
        let mut memory = Memory {
            oom_at: Some(10),
            start_asked_at: Some(20),
            ..Memory::default()
        };
        assert_eq!(died(&mut memory, 30, false), (ExitReason::Signaled, false));
    }

    #[test]
    fn a_late_word_of_a_death_does_not_take_the_next_runs_evidence() {
        let mut memory = Memory {
            start_asked_at: Some(20),
            ..Memory::default()
        };
        assert_eq!(died(&mut memory, 15, true), (ExitReason::Signaled, false));
        assert_eq!(died(&mut memory, 30, true), (ExitReason::Oom, true));
    }

    #[test]
    fn what_a_reader_found_first_is_still_told() {
        let mut memory = Memory {
            start_asked_at: Some(20),
            oom_at: Some(29),
            ..Memory::default()
        };
        assert_eq!(died(&mut memory, 30, false), (ExitReason::Oom, true));
    }
}
