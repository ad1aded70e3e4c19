//! preflight

use std::sync::Arc;

use driver_types::{DriverError, Operation, Preflight, Result};

use crate::engine::Engine;

pub(crate) async fn preflight(engine: &Arc<Engine>) -> Result<Preflight> {
    let _ = (engine);
    Err(DriverError::unsupported(
        Operation::Preflight.name(),
        crate::DRIVER_NAME,
    ))
}
