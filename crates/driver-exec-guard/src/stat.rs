//! What the kernel tells of a process in proc(5)'s `stat`.

use std::fs::File;
use std::io::{self, Read};

/// When a process was started, in clock ticks after boot. With its pid this is one process of this boot.
///
/// # Errors
///
/// There is no process of this pid, or it cannot be looked at.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let found = number(&read(pid)?, 22);
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The pid of the parent of a process.
///
/// # Errors
///
/// As of [`start_time`].
pub fn parent(pid: i32) -> io::Result<i32> {
    number(&read(pid)?, 4).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How a process has ended that nobody has reaped yet, as wait(2) has it; `None` where it has not ended.
///
/// # Errors
///
/// As of [`start_time`].
pub fn zombie_status(pid: i32) -> io::Result<Option<i32>> {
    read(pid).map(|stat| status_of_zombie(&stat))
}

fn status_of_zombie(stat: &str) -> Option<i32> {
    let is_zombie = fields(stat)?.next() == Some("Z");
    number(stat, 52).filter(|_| is_zombie)
}

fn read(pid: i32) -> io::Result<String> {
    /// More than 52 numbers and a name.
    const MOST: usize = 2048;
    let mut bytes = [0; MOST];
    let read = File::open(format!("/proc/{pid}/stat"))?.read(&mut bytes)?;
    // A process calls itself what it likes, which may be no text.
    Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

/// The fields from the third on. The second is a name in parentheses, in which may be others.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_ascii_whitespace())
}

/// A field by the number that proc(5) gives it.
fn number<T: std::str::FromStr>(stat: &str, field: usize) -> Option<T> {
    fields(stat)?.nth(field - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(number(&format!("7 (sh) {rest}"), 22), Some(4711));
        assert_eq!(number(&format!("7 (a) Z 1) {rest}"), 22), Some(4711));
        assert_eq!(number(&format!("7 (a) Z 9) {rest}"), 4), Some(1));
        assert_eq!(number::<u64>("7 (sh) S 1", 22), None);
        assert_eq!(number::<i32>("9 (cut", 4), None);
        assert_eq!(number::<u64>("", 22), None);
    }

    #[test]
    fn the_status_is_that_of_zombies_only() {
        let rest = "0 ".repeat(48) + "1792";
        assert_eq!(status_of_zombie(&format!("7 (a) b) Z {rest}")), Some(7 << 8));
        assert_eq!(status_of_zombie(&format!("7 (sh) S {rest}")), None);
    }

    #[test]
    fn a_process_that_lives_is_no_zombie() {
        let own = std::process::id().cast_signed();
        assert!(start_time(own).is_ok_and(|time| time > 0));
        assert!(matches!(zombie_status(own), Ok(None)));
        assert!(start_time(-1).is_err());
    }

    #[test]
    fn a_zombie_has_a_status() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "exit 7"])
            .spawn()
            .expect("a shell");
        let pid = child.id().cast_signed();
        let status = loop {
            match zombie_status(pid) {
                Ok(None) => std::thread::yield_now(),
                found => break found,
            }
        };
        child.wait().expect("a child");
        assert!(matches!(status, Ok(Some(0x700))), "{status:?}");
    }
}
