//! reap

use std::sync::Arc;

use driver_types::{DriverError, Operation, ReapPolicy, ReapReport, Result};

use crate::engine::Engine;

pub(crate) async fn reap(engine: &Arc<Engine>, policy: &ReapPolicy) -> Result<ReapReport> {
    let _ = (engine, policy);
    Err(DriverError::unsupported(
        Operation::Reap.name(),
        crate::DRIVER_NAME,
    ))
}
