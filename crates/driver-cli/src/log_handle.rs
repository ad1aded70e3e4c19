//! The output of a main process by its logs, for drivers that cannot attach.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use driver_types::{
    ContainerDriver, ContainerDriverExt, DriverError, LogOptions, Operation, OutputStream, ProcessControl,
    ProcessExit, ProcessFrame, ProcessHandle, Result, Signal, StopOptions, TerminalSize,
};
use futures_util::StreamExt;

/// A handle on the main process of a container that was started: its whole output from the logs, and no stdin. The
/// frames end when the container ends, without an exit frame.
pub(crate) async fn follow(driver: Arc<dyn ContainerDriver>, id: &str) -> Result<ProcessHandle> {
    let frames = driver.stream_logs(id, &LogOptions::follow()).await?;
    let frames = frames.map(|frame| {
        let frame = frame?;
        Ok(match frame.stream {
            OutputStream::Stdout => ProcessFrame::Stdout { data: frame.data },
            OutputStream::Stderr => ProcessFrame::Stderr { data: frame.data },
        })
    });
    let control = LogControl {
        driver,
        id: id.to_owned(),
    };
    Ok(ProcessHandle::new(Box::pin(frames), control))
}

/// Control by the operations on the container.
#[derive(Debug)]
struct LogControl {
    driver: Arc<dyn ContainerDriver>,
    id: String,
}

impl LogControl {
    fn cannot(&self) -> DriverError {
        DriverError::unsupported(Operation::Attach.name(), self.driver.name())
    }
}

#[async_trait]
impl ProcessControl for LogControl {
    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Err(self.cannot())
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Err(self.cannot())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.driver.signal_container(&self.id, signal).await
    }

    async fn kill(&self) -> Result<()> {
        self.driver.stop_container(&self.id, &StopOptions::force()).await
    }

    async fn wait(&self) -> Result<ProcessExit> {
        let exit = self.driver.wait_exit(&self.id).await?;
        Ok(ProcessExit {
            exit_code: exit.exit_code.unwrap_or(-1),
            signal: exit.signal,
            timed_out: false,
        })
    }

    fn detach(&self) {}
}
