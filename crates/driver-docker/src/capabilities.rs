//! capabilities

use std::sync::Arc;

use driver_types::{Capabilities, DriverError, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn capabilities(engine: &Arc<Engine>) -> Result<Capabilities> {
    let _ = (engine);
    Err(DriverError::unsupported(
        Operation::Capabilities.name(),
        crate::DRIVER_NAME,
    ))
}
