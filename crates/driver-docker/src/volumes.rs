//! volumes

use std::sync::Arc;

use driver_types::{DriverError, Operation, Result, Volume, VolumeConfig};

use crate::engine::Engine;

pub(crate) async fn create_volume(engine: &Arc<Engine>, config: &VolumeConfig) -> Result<Volume> {
    let _ = (engine, config);
    Err(DriverError::unsupported(
        Operation::CreateVolume.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn remove_volume(engine: &Arc<Engine>, id: &str) -> Result<()> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::RemoveVolume.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn list_volumes(engine: &Arc<Engine>) -> Result<Vec<Volume>> {
    let _ = (engine);
    Err(DriverError::unsupported(
        Operation::ListVolumes.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn get_volume(engine: &Arc<Engine>, id: &str) -> Result<Option<Volume>> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::GetVolume.name(),
        crate::DRIVER_NAME,
    ))
}
