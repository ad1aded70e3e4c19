//! Opening an exec under the guard: the engine's two calls, and the guard's first words.

use std::io;
use std::sync::Arc;

use driver_exec_guard::client::{self, Refusal, Session};
use driver_types::{DriverError, ExecSpec, Operation, Result};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::exec_connection::Demuxed;
use crate::failure::Failure;
use crate::{error, guard, liveness};

/// A started process: the engine's id of the exec, and the connection to its guard.
pub(crate) struct Started {
    pub(crate) exec_id: String,
    pub(crate) session: Session<Demuxed<TokioIo<Upgraded>>>,
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
) -> Result<Started> {
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
    let session = greet(id, Demuxed::new(connection)).await?;
    Ok(Started { exec_id, session })
}

async fn create(engine: &Engine, operation: Operation, id: &str, spec: &ExecSpec) -> Result<String> {
    let options = client::arguments(spec);
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
async fn greet(
    id: &str,
    mut connection: Demuxed<TokioIo<Upgraded>>,
) -> Result<Session<Demuxed<TokioIo<Upgraded>>>> {
    let refusal = match client::greet(&mut connection).await {
        Ok(decoder) => return Ok(Session::new(connection, decoder)),
        Err(refusal) => refusal,
    };
    let (said, ended) = match refusal {
        Refusal::StartFailed(message) => return Err(DriverError::exec_start(id, message)),
        Refusal::OtherVersion => {
            let message = "the container's exec guard is of another version of this driver; create it again";
            return Err(DriverError::exec_start(id, message));
        }
        Refusal::NoGuard { said, ended } => (said, ended),
        // The text is complete when the stream is.
        Refusal::Lost(error) if error.kind() == io::ErrorKind::InvalidData => (Vec::new(), false),
        Refusal::Lost(error) => return Err(error::engine(Failure::Broken(error.to_string()))),
    };
    let text = connection.into_text(&said, ended).await;
    Err(not_started(id, &text))
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
