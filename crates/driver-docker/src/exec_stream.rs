//! Running a process in a container with a handle on it.

use std::sync::Arc;

use driver_types::{DriverError, ExecSpec, Operation, ProcessHandle, Result};

use crate::engine::Engine;

pub(crate) async fn exec_stream(engine: &Arc<Engine>, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
    let _ = (engine, id, spec);
    Err(DriverError::unsupported(
        Operation::ExecStream.name(),
        crate::DRIVER_NAME,
    ))
}
