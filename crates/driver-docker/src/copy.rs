//! Files into and out of a container.

use std::sync::Arc;

use driver_types::{ByteStream, DriverError, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn copy_into(engine: &Arc<Engine>, id: &str, path: &str, archive: ByteStream) -> Result<()> {
    let _ = (engine, id, path, archive);
    Err(DriverError::unsupported(
        Operation::CopyInto.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn copy_from(engine: &Arc<Engine>, id: &str, path: &str) -> Result<ByteStream> {
    let _ = (engine, id, path);
    Err(DriverError::unsupported(
        Operation::CopyFrom.name(),
        crate::DRIVER_NAME,
    ))
}
