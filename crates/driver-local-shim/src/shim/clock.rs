//! Times and identities that a record needs.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Pid;

/// Epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When a process was started, in clock ticks after boot.
pub(crate) fn start_time(pid: Pid) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    parse_start_time(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How a process has ended that nobody has reaped yet, as wait(2) has it. The kernel tells only root.
pub(crate) fn zombie_status(pid: Pid) -> Option<i32> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse_zombie_status(&stat)
}

/// Field 52 where field 3 is Z.
fn parse_zombie_status(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    (fields.next() == Some("Z")).then_some(())?;
    fields.nth(48)?.parse().ok()
}

/// Field 22; the second is a name in parentheses that may hold anything.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{parse_start_time, parse_zombie_status};

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_start_time(&format!("7 (sh) {rest}")), Some(4711));
        assert_eq!(parse_start_time(&format!("7 (a) b) {rest}")), Some(4711));
        assert_eq!(parse_start_time("7 (sh) S 1"), None);
    }

    #[test]
    fn the_status_is_that_of_zombies_only() {
        let rest = "0 ".repeat(48) + "1792";
        assert_eq!(parse_zombie_status(&format!("7 (a) b) Z {rest}")), Some(7 << 8));
        assert_eq!(parse_zombie_status(&format!("7 (sh) S {rest}")), None);
    }
}
