//! Running a process in a container to its end.

use std::sync::Arc;

use driver_types::{DriverError, ExecResult, ExecSpec, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn exec(engine: &Arc<Engine>, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
    let _ = (engine, id, spec);
    Err(DriverError::unsupported(
        Operation::Exec.name(),
        crate::DRIVER_NAME,
    ))
}
