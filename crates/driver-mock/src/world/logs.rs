//! The output of a main process: its log, and whoever is attached to it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use driver_types::{LogFrame, LogOptions, OutputStream, ProcessExit, ProcessFrame};
use tokio::sync::{Notify, mpsc};

use crate::kernel::frame;

/// A piece of log: at most one line.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) stream: OutputStream,
    pub(crate) time: u64,
    pub(crate) data: Bytes,
    /// Whether a line begins with it.
    pub(crate) begins: bool,
}

impl Entry {
    pub(crate) fn passes(&self, options: &LogOptions) -> bool {
        let wanted = match self.stream {
            OutputStream::Stdout => options.stdout,
            OutputStream::Stderr => options.stderr,
        };
        wanted
            && options.since.is_none_or(|since| self.time >= since)
            && options.until.is_none_or(|until| self.time < until)
    }

    /// As a caller gets it: with its time in front if that is wanted.
    pub(crate) fn to_frame(&self, timestamps: bool) -> LogFrame {
        let data = if timestamps && self.begins {
            let mut line = super::rfc3339(self.time).into_bytes();
            line.push(b' ');
            line.extend_from_slice(&self.data);
            line.into()
        } else {
            self.data.clone()
        };
        LogFrame {
            stream: self.stream,
            time: self.time,
            data: data.into(),
        }
    }
}

/// Which runs there were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// How the last one ended.
    pub(crate) exit: Option<ProcessExit>,
    /// The container is gone.
    pub(crate) removed: bool,
}

/// The runs, and whoever waits for the end of one.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    runs: Mutex<Runs>,
    changed: Notify,
}

impl Watched {
    pub(crate) fn get(&self) -> Runs {
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn modify(&self, change: impl FnOnce(&mut Runs)) {
        change(&mut self.runs.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    /// Waits until the run has ended, or the container is gone.
    pub(crate) async fn wait_for_end(&self, run: u64) -> Runs {
        loop {
            let changed = self.changed.notified();
            let runs = self.get();
            if runs.ended >= run || runs.removed {
                return runs;
            }
            changed.await;
        }
    }
}

/// The output of the main process over all runs. Beyond its size the oldest lines go, as with a rotating log.
#[derive(Debug)]
pub(crate) struct MainOutput {
    state: Mutex<State>,
    size: usize,
    changed: Notify,
    pub(crate) runs: Watched,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The number of the first entry, counted from the first that ever was.
    first: u64,
    bytes: usize,
    /// Whether the last piece of each stream ended its line.
    mid_line: [bool; 2],
    attached: Vec<mpsc::Sender<ProcessFrame>>,
}

/// Frames that an attached reader may be behind before it holds the process back.
const ATTACH_BUFFER: usize = 64;

impl MainOutput {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            state: Mutex::default(),
            size,
            changed: Notify::new(),
            runs: Watched::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs, then hands on to those who are attached, at their pace.
    pub(crate) async fn write(&self, stream: OutputStream, data: Bytes, time: u64) {
        let attached = {
            let mut state = self.lock();
            state.push(stream, &data, time, self.size);
            state.attached.clone()
        };
        self.changed.notify_waiters();
        for reader in attached {
            let _ = reader.send(frame(stream, data.clone())).await;
        }
    }

    /// The same if no reader has to be waited for; `false`, and nothing is written, otherwise.
    pub(crate) fn write_now(&self, stream: OutputStream, data: Bytes, time: u64) -> bool {
        let mut state = self.lock();
        state.attached.retain(|reader| !reader.is_closed());
        if state.attached.iter().any(|reader| reader.capacity() == 0) {
            return false;
        }
        state.push(stream, &data, time, self.size);
        for reader in &state.attached {
            // A reader that went away meanwhile misses nothing.
            let _ = reader.try_send(frame(stream, data.clone()));
        }
        drop(state);
        self.changed.notify_waiters();
        true
    }

    /// The output from now on.
    pub(crate) fn attach(&self) -> mpsc::Receiver<ProcessFrame> {
        let (sender, receiver) = mpsc::channel(ATTACH_BUFFER);
        let mut state = self.lock();
        state.attached.retain(|reader| !reader.is_closed());
        state.attached.push(sender);
        receiver
    }

    pub(crate) fn begin_run(&self) {
        self.runs.modify(|runs| runs.begun += 1);
    }

    pub(crate) fn end_run(&self, exit: ProcessExit) {
        self.lock().mid_line = [false; 2];
        self.runs.modify(|runs| {
            runs.ended = runs.begun;
            runs.exit = Some(exit);
        });
        self.changed.notify_waiters();
    }

    pub(crate) fn removed(&self) {
        self.runs.modify(|runs| runs.removed = true);
        self.changed.notify_waiters();
    }

    /// Everything that passes, with the number from which a follower goes on.
    pub(crate) fn read(&self, options: &LogOptions) -> (Vec<Entry>, u64) {
        let state = self.lock();
        let passing = state.entries.iter().filter(|entry| entry.passes(options));
        let entries: Vec<Entry> = match options.tail {
            None => passing.cloned().collect(),
            Some(lines) => last_lines(passing.cloned().collect(), lines),
        };
        (entries, state.first + state.entries.len() as u64)
    }

    /// What came since `next`, waiting for it; nothing at the end of the runs.
    pub(crate) async fn follow(&self, next: &mut u64) -> Vec<Entry> {
        loop {
            let changed = self.changed.notified();
            // Asked first: what is written before the end is there when the end is seen.
            let runs = self.runs.get();
            {
                let state = self.lock();
                let skip = next.saturating_sub(state.first) as usize;
                let entries: Vec<Entry> = state.entries.iter().skip(skip).cloned().collect();
                *next = state.first + state.entries.len() as u64;
                if !entries.is_empty() {
                    return entries;
                }
            }
            if runs.removed || (runs.begun > 0 && runs.ended == runs.begun) {
                return Vec::new();
            }
            changed.await;
        }
    }
}

impl State {
    fn push(&mut self, stream: OutputStream, data: &Bytes, time: u64, size: usize) {
        let mut start = 0;
        while start < data.len() {
            let end = data[start..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(data.len(), |newline| start + newline + 1);
            let piece = data.slice(start..end);
            let mid_line = &mut self.mid_line[stream as usize];
            let begins = !*mid_line;
            *mid_line = !piece.ends_with(b"\n");
            self.bytes += piece.len();
            self.entries.push_back(Entry {
                stream,
                time,
                data: piece,
                begins,
            });
            start = end;
        }
        while self.bytes > size {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.first += 1;
            self.bytes -= oldest.data.len();
        }
    }
}

/// The last lines, each whole.
fn last_lines(entries: Vec<Entry>, lines: u64) -> Vec<Entry> {
    let begins = entries.iter().filter(|entry| entry.begins).count() as u64;
    let skip = begins.saturating_sub(lines);
    let mut seen = 0;
    let mut open = [false; 2];
    entries
        .into_iter()
        .filter(|entry| {
            if entry.begins {
                seen += 1;
                open[entry.stream as usize] = seen > skip;
            }
            open[entry.stream as usize]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    async fn filled() -> MainOutput {
        let output = MainOutput::new(1 << 20);
        for (stream, text, time) in [
            (OutputStream::Stdout, "one\ntw", 10),
            (OutputStream::Stderr, "err\n", 20),
            (OutputStream::Stdout, "o\nthree\n", 30),
        ] {
            output
                .write(stream, Bytes::from_static(text.as_bytes()), time)
                .await;
        }
        output
    }

    fn text(entries: &[Entry]) -> String {
        entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.data).into_owned())
            .collect()
    }

    #[rstest]
    #[case::all(None, "one\ntwerr\no\nthree\n")]
    #[case::none(Some(0), "")]
    #[case::one(Some(1), "three\n")]
    #[case::a_line_is_whole(Some(3), "twerr\no\nthree\n")]
    #[case::more_than_there_are(Some(99), "one\ntwerr\no\nthree\n")]
    #[tokio::test]
    async fn tail_counts_lines(#[case] tail: Option<u64>, #[case] expected: &str) {
        let options = LogOptions {
            tail,
            ..LogOptions::default()
        };
        assert_eq!(text(&filled().await.read(&options).0), expected);
    }

    #[tokio::test]
    async fn filters_by_stream_and_time() {
        let output = filled().await;
        let read = |options| text(&output.read(&options).0);
        assert_eq!(
            read(LogOptions {
                stdout: false,
                ..LogOptions::default()
            }),
            "err\n"
        );
        assert_eq!(
            read(LogOptions {
                since: Some(20),
                until: Some(30),
                ..LogOptions::default()
            }),
            "err\n"
        );
    }

    #[tokio::test]
    async fn the_oldest_lines_go_and_followers_go_on() {
        let output = MainOutput::new(10);
        output.begin_run();
        output
            .write(OutputStream::Stdout, Bytes::from_static(b"12345\n"), 1)
            .await;
        let mut next = 0;
        assert_eq!(text(&output.follow(&mut next).await), "12345\n");
        output
            .write(OutputStream::Stdout, Bytes::from_static(b"abcde\nfgh\n"), 2)
            .await;
        assert_eq!(text(&output.read(&LogOptions::default()).0), "abcde\nfgh\n");
        assert_eq!(text(&output.follow(&mut next).await), "abcde\nfgh\n");
        output.end_run(ProcessExit {
            exit_code: 0,
            signal: None,
            timed_out: false,
        });
        assert!(output.follow(&mut next).await.is_empty());
    }
}
