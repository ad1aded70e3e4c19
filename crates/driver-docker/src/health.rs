//! Whether the engine answers, and whether a container is well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_types::{DriverError, DriverHealth, DriverStatus, HealthStatus, Operation, Result};

use crate::DRIVER_NAME;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::time::now_ms;

/// An engine that needs longer for a ping cannot be worked with.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// The health of the driver. An engine that cannot be reached, or does not answer in time, is `Ok` and unhealthy.
pub(crate) async fn health_check(engine: &Arc<Engine>) -> Result<DriverHealth> {
    let operation = Operation::HealthCheck;
    if engine.is_shut_down() {
        return engine
            .within(operation, async { unreachable_after_shutdown() })
            .await;
    }
    let limit = engine
        .options
        .deadlines
        .get(operation)
        .unwrap_or(PING_LIMIT)
        .min(PING_LIMIT);
    let begin = Instant::now();
    let answer = tokio::time::timeout(limit, engine.client.ping()).await;
    let latency_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let health = |status, engine: Option<String>, error: Option<String>| DriverHealth {
        status,
        checked_at: now_ms(),
        latency_ms,
        engine,
        error,
    };
    match answer {
        Ok(Ok(ping)) => {
            let name = match tokio::time::timeout(limit, engine.profile()).await {
                Ok(Ok(profile)) => profile.engine_name(),
                _ => ping.server,
            };
            Ok(health(DriverStatus::Healthy, Some(name), None))
        }
        Ok(Err(Failure::Malformed(message))) => Err(DriverError::driver_health(message)
            .with_operation(operation.name())
            .with_driver(DRIVER_NAME)),
        Ok(Err(failure)) => Ok(health(DriverStatus::Unhealthy, None, Some(failure.message()))),
        Err(_) => {
            let host = engine.client.host();
            let message = format!(
                "the engine at {host} did not answer within {} ms",
                limit.as_millis()
            );
            Ok(health(DriverStatus::Unhealthy, None, Some(message)))
        }
    }
}

/// Never returned: `within` refuses before it looks.
fn unreachable_after_shutdown() -> Result<DriverHealth> {
    Err(DriverError::internal("the driver was shut down"))
}

/// Whether a container runs and its health check, if any, is not `unhealthy`.
pub(crate) async fn is_container_healthy(engine: &Arc<Engine>, id: &str) -> Result<bool> {
    let inspect = engine.inspect(Operation::IsContainerHealthy, id).await?;
    let health = inspect.state.health.as_ref();
    let verdict = health.and_then(|health| crate::instance::health_status(&health.status));
    let runs =
        crate::instance::status(&inspect, &Default::default()) == driver_types::ContainerStatus::Running;
    Ok(runs && verdict != Some(HealthStatus::Unhealthy))
}
