//! Opening an exec under the guard: the engine's two calls, and the guard's first words.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use driver_exec_guard::{Decoder, Report, VERSION};
use driver_types::{DriverError, ExecSpec, Operation, Result, TerminalSize};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::mux::{Channel, Demux};
use crate::{error, guard, liveness};

/// The size of a terminal where none is given.
const DEFAULT_SIZE: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};
/// The most of an error text that is kept.
const MAX_TEXT: usize = 4096;

/// A connection to the guard of a started process.
#[derive(Debug)]
pub(crate) struct Session {
    /// The engine's id of the exec.
    pub(crate) exec_id: String,
    pub(crate) incoming: Incoming,
}

/// The reading side: from the engine's frames to the guard's reports. Also has the connection to write to.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) connection: TokioIo<Upgraded>,
    pub(crate) reports: Reports,
}

/// Bytes of the connection as reports.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    demux: Demux,
    decoder: Decoder,
    /// What the guard, or the engine in its place, wrote that is no report.
    text: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateExec<'a> {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    cmd: Vec<&'a str>,
    env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreatedExec {
    id: String,
}

/// Starts the process of `spec` and returns when it runs, or when its own exec is under way: a missing program then
/// ends with 127.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    operation: Operation,
    id: &str,
    spec: &ExecSpec,
) -> Result<Session> {
    guard::require(engine, operation).await?;
    let inspect = engine.inspect(operation, id).await?;
    liveness::require_running(engine, &inspect)?;
    let exec_id = create(engine, operation, id, spec).await?;
    let call = engine
        .client
        .post(format!("/exec/{exec_id}/start"))
        .json(&serde_json::json!({ "Detach": false, "Tty": false }));
    let connection = match call.upgrade().await {
        Ok(connection) => connection,
        Err(failure) => return Err(refused(engine, operation, id, failure).await),
    };
    let reports = Reports::default();
    let mut incoming = Incoming { connection, reports };
    handshake(id, &mut incoming).await?;
    Ok(Session { exec_id, incoming })
}

async fn create(engine: &Engine, operation: Operation, id: &str, spec: &ExecSpec) -> Result<String> {
    let mut options: Vec<String> = Vec::new();
    if spec.tty {
        let size = spec.terminal_size.unwrap_or(DEFAULT_SIZE);
        options.extend(["--tty".into(), format!("{}x{}", size.rows, size.columns)]);
    }
    if spec.attach_stdin || spec.stdin.is_some() {
        options.push("--stdin".into());
    }
    if let Some(ms) = spec.timeout_ms {
        options.extend(["--timeout-ms".into(), ms.to_string()]);
    }
    let own = [guard::PATH]
        .into_iter()
        .chain(options.iter().map(String::as_str));
    let body = CreateExec {
        attach_stdin: true,
        attach_stdout: true,
        attach_stderr: true,
        // A terminal is the guard's to make: the engine's would mix its reports with the program's output.
        tty: false,
        cmd: own
            .chain(["--"])
            .chain(spec.command.iter().map(String::as_str))
            .collect(),
        env: spec
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        working_dir: spec.working_dir.as_deref(),
        user: spec.user.as_deref(),
    };
    let call = engine.client.post(format!("/containers/{id}/exec")).json(&body);
    match call.value::<CreatedExec>().await {
        Ok(created) => Ok(created.id),
        Err(failure) => Err(refused(engine, operation, id, failure).await),
    }
}

/// A refusal may mean that the container has stopped since it was looked at.
async fn refused(engine: &Engine, operation: Operation, id: &str, failure: Failure) -> DriverError {
    if let Some(409 | 500) = failure.status_code() {
        match engine.inspect(operation, id).await {
            Ok(inspect) => {
                if let Err(error) = liveness::require_running(engine, &inspect) {
                    return error;
                }
            }
            Err(error) => return error,
        }
    }
    if failure.status_code().is_some() {
        return not_started(id, &failure.message());
    }
    error::container(operation, id, failure)
}

/// Waits for the guard's first reports. Anything else is what the engine says in place of the guard.
async fn handshake(id: &str, incoming: &mut Incoming) -> Result<()> {
    let mut hello = false;
    loop {
        match incoming.next().await {
            Ok(Some(Report::Hello(VERSION))) => hello = true,
            Ok(Some(Report::Started)) if hello => return Ok(()),
            Ok(Some(Report::StartFailed(message))) if hello => {
                return Err(DriverError::exec_start(id, message));
            }
            Ok(Some(_)) => {
                let message =
                    "the container's exec guard is of another version of this driver; create it again";
                return Err(DriverError::exec_start(id, message));
            }
            // The text is complete when the stream is.
            Err(Failure::Malformed(_)) => {}
            Ok(None) => return Err(not_started(id, &incoming.reports.text())),
            Err(failure) => return Err(error::engine(failure)),
        }
    }
}

fn not_started(id: &str, text: &str) -> DriverError {
    let guard_missing = text.contains(guard::PATH) && text.contains("no such file");
    if guard_missing {
        let message = format!(
            "the container has no exec guard at {}: it was made by something else, or the guard's volume was removed \
             from the engine; create the container again",
            guard::PATH
        );
        return DriverError::exec_start(id, message);
    }
    let text = text.trim();
    DriverError::exec_start(
        id,
        if text.is_empty() {
            "the engine ended the process and does not say why"
        } else {
            text
        },
    )
}

impl Incoming {
    /// The next report; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`] for bytes that are no report; they are kept as text, and reading may go on.
    pub(crate) async fn next(&mut self) -> Result<Option<Report>, Failure> {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        loop {
            if let Some(report) = self.reports.decode()? {
                return Ok(Some(report));
            }
            buffer.reserve(16 * 1024);
            match self.connection.read_buf(&mut buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => self.reports.push(buffer.split().freeze())?,
                Err(error) => return Err(Failure::Broken(error.to_string())),
            }
        }
    }
}

impl Reports {
    /// Adds bytes of the connection.
    pub(crate) fn push(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        let whole = bytes.clone();
        loop {
            match self.demux.next(&mut bytes) {
                Ok(Some(piece)) if piece.channel == Channel::Stdout => self.decoder.push(&piece.data),
                Ok(Some(piece)) => self.keep(&piece.data),
                Ok(None) => return Ok(()),
                // An engine that could not start the guard may write plain text.
                Err(failure) => {
                    self.keep(&whole);
                    return Err(failure);
                }
            }
        }
    }

    /// The next report.
    pub(crate) fn decode(&mut self) -> Result<Option<Report>, Failure> {
        let decoded = self.decoder.decode();
        decoded.map_err(|error| {
            let rest = self.decoder.rest().to_vec();
            self.decoder = Decoder::default();
            self.keep(&rest);
            Failure::Malformed(error.to_string())
        })
    }

    fn keep(&mut self, text: &[u8]) {
        let room = MAX_TEXT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..room.min(text.len())]);
    }

    /// What was written that is no report.
    fn text(&self) -> String {
        let rest = self.decoder.rest();
        String::from_utf8_lossy(&[self.text.as_slice(), rest].concat()).into_owned()
    }
}
