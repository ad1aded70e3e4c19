//! A handle on the main process of a container.

use std::sync::Arc;

use driver_types::{DriverError, Operation, ProcessHandle, Result};

use crate::engine::Engine;

pub(crate) async fn attach(engine: &Arc<Engine>, id: &str) -> Result<ProcessHandle> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::Attach.name(),
        crate::DRIVER_NAME,
    ))
}
