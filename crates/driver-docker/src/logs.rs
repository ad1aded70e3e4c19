//! Logs, as text and as a stream.

use std::sync::Arc;

use driver_types::{BoxStream, DriverError, LogFrame, LogOptions, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn get_container_logs(
    engine: &Arc<Engine>,
    id: &str,
    options: &LogOptions,
) -> Result<String> {
    let _ = (engine, id, options);
    Err(DriverError::unsupported(
        Operation::GetContainerLogs.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn stream_logs(
    engine: &Arc<Engine>,
    id: &str,
    options: &LogOptions,
) -> Result<BoxStream<LogFrame>> {
    let _ = (engine, id, options);
    Err(DriverError::unsupported(
        Operation::StreamLogs.name(),
        crate::DRIVER_NAME,
    ))
}
