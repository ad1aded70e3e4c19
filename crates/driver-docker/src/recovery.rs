//! recovery

use std::sync::Arc;

use driver_types::{DriverError, Operation, RecoveryReport, Result, ShutdownMode};

use crate::engine::Engine;

pub(crate) async fn recover(engine: &Arc<Engine>) -> Result<RecoveryReport> {
    let _ = (engine);
    Err(DriverError::unsupported(
        Operation::Recover.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn shutdown(engine: &Arc<Engine>, mode: ShutdownMode) -> Result<()> {
    let _ = (engine, mode);
    Err(DriverError::unsupported(
        Operation::Shutdown.name(),
        crate::DRIVER_NAME,
    ))
}
