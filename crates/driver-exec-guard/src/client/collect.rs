//! Running a process to its end.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use driver_types::{DriverError, ExecResult, ExecSpec, Operation, ProcessFrame, ProcessHandle, Result};

/// What the guard may take beyond the time-out: it ends the tree by TERM, a second later by KILL, and gives up after
/// ten. Later than this it cannot act: its container is paused, or the connection is dead.
const LATE: Duration = Duration::from_secs(30);

/// Collects what the process of a validated spec writes, up to the cap of each stream. `started` is when the call
/// began. Dropping this future drops the handle, and that ends the tree.
///
/// # Errors
///
/// Those of the handle; `TIMEOUT` where the guard cannot keep the time-out.
pub async fn collect(handle: ProcessHandle, spec: &ExecSpec, started: Instant) -> Result<ExecResult> {
    let cap = spec
        .max_output_bytes
        .unwrap_or(ExecSpec::DEFAULT_MAX_OUTPUT_BYTES);
    let collected = to_end(handle, usize::try_from(cap).unwrap_or(usize::MAX), started);
    match spec.timeout_ms {
        None => collected.await,
        Some(ms) => {
            let limit = Duration::from_millis(ms) + LATE;
            let late = |_| DriverError::timeout(Operation::Exec.name(), ms);
            tokio::time::timeout(limit, collected).await.map_err(late)?
        }
    }
}

async fn to_end(mut handle: ProcessHandle, cap: usize, started: Instant) -> Result<ExecResult> {
    let (mut stdout, mut stderr) = (Capped::new(cap), Capped::new(cap));
    while let Some(frame) = handle.next_frame().await {
        match frame? {
            ProcessFrame::Stdout { data } => stdout.push(&data),
            ProcessFrame::Stderr { data } => stderr.push(&data),
            ProcessFrame::Exit(exit) => {
                return Ok(ExecResult {
                    exit_code: exit.exit_code,
                    signal: exit.signal,
                    timed_out: exit.timed_out,
                    stdout_truncated: stdout.truncated,
                    stderr_truncated: stderr.truncated,
                    stdout: stdout.kept.freeze().into(),
                    stderr: stderr.kept.freeze().into(),
                    duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
    }
    Err(DriverError::network(
        "the stream of the process ended before the process",
    ))
}

/// The beginning of a stream.
struct Capped {
    kept: BytesMut,
    cap: usize,
    truncated: bool,
}

impl Capped {
    fn new(cap: usize) -> Self {
        Self {
            kept: BytesMut::new(),
            cap,
            truncated: false,
        }
    }

    fn push(&mut self, data: &Bytes) {
        let room = self.cap - self.kept.len();
        self.truncated |= data.len() > room;
        self.kept.extend_from_slice(&data[..room.min(data.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_cap_is_dropped_and_told() {
        let mut stream = Capped::new(5);
        stream.push(&Bytes::from_static(b"abc"));
        stream.push(&Bytes::from_static(b"de"));
        assert!(!stream.truncated, "exactly the cap is not cut");
        stream.push(&Bytes::from_static(b"f"));
        assert!(stream.truncated);
        assert_eq!(stream.kept.as_ref(), b"abcde");
    }
}
