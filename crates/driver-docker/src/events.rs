//! events

use std::sync::Arc;

use driver_types::{BoxStream, DriverError, Event, EventFilter, Operation, Result};

use crate::engine::Engine;

pub(crate) async fn events(engine: &Arc<Engine>, filter: &EventFilter) -> Result<BoxStream<Event>> {
    let _ = (engine, filter);
    Err(DriverError::unsupported(
        Operation::Events.name(),
        crate::DRIVER_NAME,
    ))
}
