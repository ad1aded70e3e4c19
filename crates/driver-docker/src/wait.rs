//! wait

use std::sync::Arc;

use driver_types::{DriverError, ExitInfo, Operation, Result, WaitCondition};

use crate::engine::Engine;

pub(crate) async fn wait_container(engine: &Arc<Engine>, id: &str, until: WaitCondition) -> Result<ExitInfo> {
    let _ = (engine, id, until);
    Err(DriverError::unsupported(
        Operation::WaitContainer.name(),
        crate::DRIVER_NAME,
    ))
}
