//! Running a process in a container with a handle on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use driver_exec_guard::client::{self, killed};
use driver_types::{DriverError, ExecSpec, Operation, ProcessExit, ProcessHandle, Result, Signal};
use driver_validation::validate_exec_stream_spec;
use serde::Deserialize;

use crate::engine::Engine;
use crate::error;
use crate::exec_session::{self, Started};
use crate::failure::Failure;

/// How long the engine may take to note the end of an exec whose stream has ended.
const NOTE_LIMIT: Duration = Duration::from_secs(5);
const NOTE_POLL: Duration = Duration::from_millis(50);

/// Starts a process and returns a handle on it.
pub(crate) async fn exec_stream(engine: &Arc<Engine>, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
    validate_exec_stream_spec(spec)?;
    start(engine, Operation::ExecStream, id, spec).await
}

/// Likewise, for a spec that was validated.
pub(crate) async fn start(
    engine: &Arc<Engine>,
    operation: Operation,
    id: &str,
    spec: &ExecSpec,
) -> Result<ProcessHandle> {
    let Started { exec_id, session } = exec_session::open(engine, operation, id, spec).await?;
    let (engine, container) = (Arc::clone(engine), id.to_owned());
    let last_word = async move |cause| last_word(&engine, &container, &exec_id, cause).await;
    Ok(client::serve(session, id, spec, last_word).await)
}

/// The stream has ended without the guard's last word: the guard was killed, with its container or by it, or the engine
/// is gone. The engine knows.
async fn last_word(
    engine: &Engine,
    container: &str,
    exec_id: &str,
    cause: Option<io::Error>,
) -> Result<ProcessExit> {
    let lost = || {
        let cause = cause
            .as_ref()
            .map_or_else(|| "the engine closed it".to_owned(), ToString::to_string);
        let message = format!("the connection to the process was lost: {cause}");
        DriverError::network(message)
            .with_operation(Operation::ExecStream.name())
            .with_driver(crate::DRIVER_NAME)
    };
    match tokio::time::timeout(NOTE_LIMIT, noted_exit(engine, container, exec_id)).await {
        Ok(Ok(exit)) => Ok(exit),
        Ok(Err(error)) => Err(lost().with_source(error)),
        Err(_) => Err(lost()),
    }
}

async fn noted_exit(engine: &Engine, container: &str, exec_id: &str) -> Result<ProcessExit> {
    /// `GET /exec/{id}/json`.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Exec {
        running: bool,
        exit_code: Option<i32>,
    }
    loop {
        match engine
            .client
            .get(format!("/exec/{exec_id}/json"))
            .value::<Exec>()
            .await
        {
            Ok(Exec {
                running: false,
                exit_code: Some(code),
            }) => {
                return Ok(ProcessExit {
                    exit_code: code,
                    signal: Signal::from_exit_code(code),
                    timed_out: false,
                });
            }
            Ok(_) => {}
            // The engine forgets the processes of a container that has ended.
            Err(Failure::Status { status: 404, .. }) => return Ok(killed()),
            Err(failure) => return Err(error::engine(failure)),
        }
        let found = engine.find(Operation::ExecStream, container).await?;
        if found.is_none_or(|inspect| inspect.state.pid == 0) {
            return Ok(killed());
        }
        tokio::time::sleep(NOTE_POLL).await;
    }
}
