//! The guard's command line, and its first words.

use std::io;

use driver_types::{ExecSpec, TerminalSize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{Decoder, Report, VERSION};

/// The size of a terminal where none is given.
const DEFAULT_SIZE: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// The guard's arguments before `--`.
pub fn arguments(spec: &ExecSpec) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    if spec.tty {
        let size = spec.terminal_size.unwrap_or(DEFAULT_SIZE);
        arguments.extend(["--tty".into(), format!("{}x{}", size.rows, size.columns)]);
    }
    if spec.attach_stdin || spec.stdin.is_some() {
        arguments.push("--stdin".into());
    }
    if let Some(ms) = spec.timeout_ms {
        arguments.extend(["--timeout-ms".into(), ms.to_string()]);
    }
    arguments
}

/// A connection to a guard whose program runs, and what was read beyond its greeting.
#[derive(Debug)]
pub struct Session<C> {
    pub(super) connection: C,
    pub(super) decoder: Decoder,
}

/// Why there is no program.
#[derive(Debug)]
pub enum Refusal {
    /// It could not be started, for a reason of the container.
    StartFailed(String),
    /// The guard is of another version than this crate.
    OtherVersion,
    /// Something else than a guard speaks, or nothing: what it said so far, and whether that is all.
    NoGuard {
        /// The bytes that are no report.
        said: Vec<u8>,
        /// Whether the connection ended after them.
        ended: bool,
    },
    /// The connection broke.
    Lost(io::Error),
}

/// Waits until the guard has started its program. A missing program is started all the same: it ends with 127.
///
/// A guard that is killed after its first word may have started it or not: that is a session too, which ends at once. An
/// error would say that nothing ran.
///
/// # Errors
///
/// See [`Refusal`]. The connection may be read on to learn what speaks instead.
pub async fn greet<C: AsyncRead + Unpin>(connection: &mut C) -> Result<Decoder, Refusal> {
    let mut decoder = Decoder::default();
    let mut hello = false;
    loop {
        match next(connection, &mut decoder).await {
            Ok(Report::Hello(VERSION)) if !hello => hello = true,
            Ok(Report::Started) if hello => return Ok(decoder),
            Ok(Report::StartFailed(message)) if hello => return Err(Refusal::StartFailed(message)),
            Ok(_) => return Err(Refusal::OtherVersion),
            Err(Refusal::NoGuard { said, ended: true }) if hello && said.is_empty() => return Ok(decoder),
            Err(refusal) => return Err(refusal),
        }
    }
}

async fn next<C: AsyncRead + Unpin>(connection: &mut C, decoder: &mut Decoder) -> Result<Report, Refusal> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        match decoder.decode() {
            Ok(Some(report)) => return Ok(report),
            Ok(None) => {}
            Err(_) => {
                let said = decoder.rest().to_vec();
                return Err(Refusal::NoGuard { said, ended: false });
            }
        }
        buffer.clear();
        match connection.read_buf(&mut buffer).await {
            Ok(0) => {
                let said = decoder.rest().to_vec();
                return Err(Refusal::NoGuard { said, ended: true });
            }
            Ok(_) => decoder.push(&buffer),
            Err(error) => return Err(Refusal::Lost(error)),
        }
    }
}

impl<C> Session<C> {
    /// A connection that was [`greet`]ed.
    pub fn new(connection: C, decoder: Decoder) -> Self {
        Self { connection, decoder }
    }
}
