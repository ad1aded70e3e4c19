//! Running a process in a running container, under the exec guard that a shim becomes.

use std::io;
use std::time::Duration;

use driver_exec_guard::Decoder;
use driver_exec_guard::client::{self, Refusal, Session};
use driver_local_shim::{ExecTask, Report, Stage};
use driver_types::{DriverError, ExecSpec, ProcessExit, ProcessHandle, Result};

use crate::shim::{self, Shim, ShimProcess};

/// How long the end of a container may be told after it has killed what was to start in it.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Starts the process of a validated spec, as its task has it. Dropping the future, like dropping the handle, ends what was started.
///
/// `ended` waits until the container does not run any more, and gives the refusal that follows. It is the answer to
/// what fails because the container has just ended.
///
/// # Errors
///
/// That of `ended`; `EXEC_START_FAILED`; `INTERNAL_ERROR` where there is no shim.
pub(crate) async fn start(
    shim: &Shim,
    id: &str,
    task: ExecTask,
    spec: &ExecSpec,
    ended: impl Future<Output = DriverError>,
) -> Result<ProcessHandle> {
    let process = shim.exec(task).await.map_err(|error| shim::lost(&error))?;
    begin(process, id, spec, ended).await
}

/// From the shim's first word to the handle.
async fn begin(
    mut process: ShimProcess,
    id: &str,
    spec: &ExecSpec,
    ended: impl Future<Output = DriverError>,
) -> Result<ProcessHandle> {
    let (error, grace) = match greet(&mut process, id).await {
        Ok(decoder) => {
            let session = Session::new(process.socket, decoder);
            return Ok(client::serve(session, id, spec, async |cause| last_word(cause)).await);
        }
        Err(Failure::OfRequest(error)) => (error, Duration::ZERO),
        Err(Failure::Other(error)) => (error, END_LIMIT),
    };
    Err(tokio::time::timeout(grace, ended).await.unwrap_or(error))
}

/// Why nothing was started.
enum Failure {
    /// What was asked for cannot be done.
    OfRequest(DriverError),
    /// Something else; perhaps the container has just ended.
    Other(DriverError),
}

async fn greet(process: &mut ShimProcess, id: &str) -> Result<Decoder, Failure> {
    match process.report().await {
        Ok(Report::Ready) => client::greet(&mut process.socket)
            .await
            .map_err(|refusal| refused(id, refusal)),
        Ok(Report::Failed {
            stage,
            exit_code,
            message,
            ..
        }) => {
            let error = DriverError::exec_start(id, message);
            let error = match exit_code {
                Some(code) => error.with_exit_code(code.into()),
                None => error,
            };
            Err(match stage {
                Stage::Privileges | Stage::WorkingDir | Stage::Exec => Failure::OfRequest(error),
                Stage::Prepare | Stage::Namespaces | Stage::Cgroups | Stage::Root => Failure::Other(error),
            })
        }
        Ok(_) => {
            let error = DriverError::internal("the shim answered another question");
            Err(Failure::OfRequest(error))
        }
        Err(error) => Err(Failure::Other(shim::lost(&error))),
    }
}

fn refused(id: &str, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::StartFailed(message) => Failure::OfRequest(DriverError::exec_start(id, message)),
        Refusal::NoGuard { ended: true, .. } | Refusal::Lost(_) => {
            let message = "the exec guard was killed before it had started the process";
            Failure::Other(DriverError::exec_start(id, message))
        }
        Refusal::OtherVersion | Refusal::NoGuard { ended: false, .. } => {
            let message = "what the shim says is not the exec guard's protocol";
            Failure::OfRequest(DriverError::internal(message))
        }
    }
}

/// Nothing is between this driver and the guard, so a connection ends early only when the guard was killed: with its
/// container, whose first process takes all others with it, or by somebody inside.
fn last_word(cause: Option<io::Error>) -> Result<ProcessExit> {
    match cause {
        Some(error) if error.kind() == io::ErrorKind::InvalidData => Err(DriverError::internal(format!(
            "the exec guard does not keep to its protocol: {error}"
        ))),
        _ => Ok(client::killed()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::pending;
    use std::time::Instant;

    use driver_exec_guard as guard;
    use driver_exec_guard::Frame;
    use driver_types::{ContainerStatus, ExecResult, Signal};
    use rstest::rstest;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    /// What a shim that became a guard says, and nothing more: it is killed then.
    async fn after(wire: Vec<u8>, ended: impl Future<Output = DriverError>) -> Result<ProcessHandle> {
        let (mut theirs, socket) = UnixStream::pair().unwrap();
        theirs.write_all(&wire).await.unwrap();
        drop(theirs);
        let cgroups = None;
        begin(ShimProcess { socket, cgroups }, "box", &spec(), ended).await
    }

    fn spec() -> ExecSpec {
        ExecSpec::new(["program"])
    }

    fn says(report: &Report, of_guard: &[guard::Report]) -> Vec<u8> {
        let mut wire = driver_local_shim::encode(report);
        of_guard.iter().for_each(|report| report.encode(&mut wire));
        wire
    }

    fn failed(stage: Stage) -> Report {
        Report::Failed {
            stage,
            exit_code: None,
            errno: None,
            message: "no user called nobody-here".into(),
        }
    }

    /// The container has ended, which is told after some other work.
    async fn just_ended() -> DriverError {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        DriverError::invalid_state("box", ContainerStatus::Exited, [ContainerStatus::Running])
    }

    async fn result(of_guard: &[guard::Report]) -> Result<ExecResult> {
        let handle = after(says(&Report::Ready, of_guard), pending()).await?;
        client::collect(handle, &spec(), Instant::now()).await
    }

    const HELLO: guard::Report = guard::Report::Hello(guard::VERSION);

    #[tokio::test]
    async fn a_process_runs_to_its_end() {
        let exited = guard::Report::Exited {
            code: 7,
            signal: 0,
            timed_out: false,
        };
        let said = [
            HELLO,
            guard::Report::Started,
            guard::Report::Stdout(b"hello".to_vec()),
            exited,
            guard::Report::End,
        ];
        let result = result(&said).await.unwrap();
        assert_eq!((result.exit_code, result.stdout.to_text()), (7, "hello".into()));
    }

    /// Also where nobody can tell whether the program had begun.
    #[rstest]
    #[case::of_the_program(&[HELLO, guard::Report::Started])]
    #[case::perhaps_before_it(&[HELLO])]
    #[tokio::test]
    async fn the_end_of_the_container_is_a_kill(#[case] of_guard: &[guard::Report]) {
        let result = result(of_guard).await.unwrap();
        assert_eq!(
            (result.exit_code, result.signal, result.timed_out),
            (137, Some(Signal::KILL), false)
        );
    }

    #[rstest]
    #[case::by_the_shim(says(&failed(Stage::Privileges), &[]), "EXEC_START_FAILED", "no user called nobody-here")]
    #[case::by_the_guard(
        says(&Report::Ready, &[HELLO, guard::Report::StartFailed("no process left".into())]),
        "EXEC_START_FAILED",
        "no process left"
    )]
    #[case::by_a_kill(says(&Report::Ready, &[]), "EXEC_START_FAILED", "killed")]
    #[case::without_a_word(Vec::new(), "INTERNAL_ERROR", "did not answer")]
    #[case::of_another_task(
        says(&Report::Started { init_pid: 1, init_start_time: 1 }, &[]),
        "INTERNAL_ERROR",
        "another question"
    )]
    #[case::of_another_version(
        says(&Report::Ready, &[guard::Report::Hello(guard::VERSION + 1)]),
        "INTERNAL_ERROR",
        "not the exec guard's protocol"
    )]
    #[tokio::test(start_paused = true)]
    async fn nothing_was_started(#[case] wire: Vec<u8>, #[case] code: &str, #[case] text: &str) {
        let error = after(wire, pending()).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }

    #[rstest]
    #[case(says(&failed(Stage::Namespaces), &[]))]
    #[case(says(&Report::Ready, &[]))]
    #[case(Vec::new())]
    #[tokio::test]
    async fn a_container_that_ended_meanwhile_is_told(#[case] wire: Vec<u8>) {
        let error = after(wire, just_ended()).await.unwrap_err();
        assert_eq!(error.code(), "INVALID_STATE");
    }
}
