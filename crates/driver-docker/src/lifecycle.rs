//! lifecycle

use std::sync::Arc;

use driver_types::{DriverError, Operation, RemoveOptions, Result, Signal, StopOptions};

use crate::engine::Engine;

pub(crate) async fn start_container(engine: &Arc<Engine>, id: &str) -> Result<()> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::StartContainer.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn stop_container(engine: &Arc<Engine>, id: &str, options: &StopOptions) -> Result<()> {
    let _ = (engine, id, options);
    Err(DriverError::unsupported(
        Operation::StopContainer.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn remove_container(engine: &Arc<Engine>, id: &str, options: &RemoveOptions) -> Result<()> {
    let _ = (engine, id, options);
    Err(DriverError::unsupported(
        Operation::RemoveContainer.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn signal_container(engine: &Arc<Engine>, id: &str, signal: Signal) -> Result<()> {
    let _ = (engine, id, signal);
    Err(DriverError::unsupported(
        Operation::SignalContainer.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn pause_container(engine: &Arc<Engine>, id: &str) -> Result<()> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::PauseContainer.name(),
        crate::DRIVER_NAME,
    ))
}

pub(crate) async fn resume_container(engine: &Arc<Engine>, id: &str) -> Result<()> {
    let _ = (engine, id);
    Err(DriverError::unsupported(
        Operation::ResumeContainer.name(),
        crate::DRIVER_NAME,
    ))
}
