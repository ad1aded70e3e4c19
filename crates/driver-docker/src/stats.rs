//! What a container uses.
//!
//! The engine reads counters once a second, for all containers at once; a call that comes sooner waits for the next
//! reading. So each container that is asked about gets one stream of readings, shared by all who ask and kept for a
//! while after the last: only the first answer costs a call of its own.

mod reading;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use driver_types::{BoxStream, ContainerStats, ContainerStatus, DriverError, Operation, Result};
use driver_validation::validate_stats_interval;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use self::reading::Reading;
use crate::engine::Engine;
use crate::lines::Lines;
use crate::{DRIVER_NAME, error, liveness};

/// The statuses in which there is something to read.
const ALIVE: [ContainerStatus; 2] = [ContainerStatus::Running, ContainerStatus::Paused];
/// How long a stream of readings is kept after the last question.
const KEEP: Duration = Duration::from_secs(10);
/// A reading that is older is not given as an answer: the engine makes one a second.
const FRESH: Duration = Duration::from_millis(1500);
/// How long measuring the writable layer may take; with very many files it is left out.
const DISK_LIMIT: Duration = Duration::from_secs(2);

/// The streams of readings, by container.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<HashMap<String, Arc<Meter>>>);

#[derive(Debug)]
struct Meter {
    latest: watch::Receiver<Option<Sample>>,
    asked: Mutex<Instant>,
}

#[derive(Clone, Debug)]
struct Sample {
    stats: ContainerStats,
    at: Instant,
}

/// One reading.
pub(crate) async fn container_stats(engine: &Arc<Engine>, id: &str) -> Result<ContainerStats> {
    let operation = Operation::ContainerStats;
    require_alive(engine, operation, id).await?;
    let (stats, disk) = tokio::join!(current(engine, operation, id), disk_used(engine, id));
    Ok(ContainerStats {
        disk_used_bytes: disk,
        ..stats?
    })
}

/// A reading every `interval_ms`. Between two readings of the engine the last one is repeated, with its own time.
pub(crate) async fn stream_stats(
    engine: &Arc<Engine>,
    id: &str,
    interval_ms: u64,
) -> Result<BoxStream<ContainerStats>> {
    validate_stats_interval(interval_ms)?;
    require_alive(engine, Operation::StreamStats, id).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = Some((Arc::clone(engine), id.to_owned(), ticks));
    Ok(Box::pin(futures_util::stream::unfold(
        state,
        |state| async move {
            let (engine, id, mut ticks) = state?;
            ticks.tick().await;
            match current(&engine, Operation::StreamStats, &id).await {
                Ok(stats) => Some((Ok(stats), Some((engine, id, ticks)))),
                // Ended, or removed meanwhile.
                Err(error) if matches!(error.code(), "INVALID_STATE" | "CONTAINER_NOT_FOUND") => None,
                Err(error) => {
                    let error = error
                        .with_operation(Operation::StreamStats.name())
                        .with_driver(DRIVER_NAME);
                    Some((Err(error), None))
                }
            }
        },
    )))
}

async fn require_alive(engine: &Engine, operation: Operation, id: &str) -> Result<()> {
    let inspect = engine.inspect(operation, id).await?;
    liveness::require(engine, &inspect, &ALIVE)
}

/// A fresh reading: the latest of the container's stream, or one of its own.
async fn current(engine: &Arc<Engine>, operation: Operation, id: &str) -> Result<ContainerStats> {
    let meter = engine.meters.of(engine, id);
    if let Some(stats) = meter.fresh() {
        // The stream may not have noticed yet that the container has ended.
        require_alive(engine, operation, id).await?;
        return Ok(stats);
    }
    let mut latest = meter.latest.clone();
    let by_stream = async {
        while latest.changed().await.is_ok() {
            if let Some(sample) = latest.borrow_and_update().clone() {
                return sample.stats;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        stats = by_stream => Ok(stats),
        stats = one_reading(engine, operation, id) => stats,
    }
}

async fn one_reading(engine: &Engine, operation: Operation, id: &str) -> Result<ContainerStats> {
    let call = engine
        .client
        .get(format!("/containers/{id}/stats"))
        .query("stream", false)
        .query("one-shot", true);
    let reading: Reading = call
        .value()
        .await
        .map_err(|failure| error::container(operation, id, failure))?;
    if let Some(stats) = reading.stats() {
        return Ok(stats);
    }
    require_alive(engine, operation, id).await?;
    Err(DriverError::internal(
        "the engine gives no reading of a container that runs",
    ))
}

/// Bytes of the writable layer; `None` where the engine does not tell, or not in time.
async fn disk_used(engine: &Engine, id: &str) -> Option<u64> {
    /// `GET /containers/{id}/json?size=true`.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Sized {
        size_rw: Option<i64>,
    }
    let call = engine
        .client
        .get(format!("/containers/{id}/json"))
        .query("size", true);
    let sized = tokio::time::timeout(DISK_LIMIT, call.value::<Sized>())
        .await
        .ok()?
        .ok()?;
    sized.size_rw.and_then(|bytes| u64::try_from(bytes).ok())
}

impl Meters {
    /// The stream of a container, begun if there is none. A container that is gone ends its own.
    fn of(&self, engine: &Arc<Engine>, id: &str) -> Arc<Meter> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get(id) {
            *meter.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            return Arc::clone(meter);
        }
        let (sender, latest) = watch::channel(None);
        let meter = Arc::new(Meter {
            latest,
            asked: Mutex::new(Instant::now()),
        });
        meters.insert(id.to_owned(), Arc::clone(&meter));
        let engine = Arc::clone(engine);
        let (id, own) = (id.to_owned(), Arc::clone(&meter));
        tokio::spawn(async move {
            read(&engine, &id, &own, &sender).await;
            engine
                .meters
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&id);
        });
        meter
    }
}

impl Meter {
    fn fresh(&self) -> Option<ContainerStats> {
        let latest = self.latest.borrow();
        let sample = latest.as_ref().filter(|sample| sample.at.elapsed() < FRESH)?;
        Some(sample.stats.clone())
    }

    fn is_wanted(&self) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.elapsed() < KEEP
    }
}

/// Reads until nobody asks any more, the container has ended, or the engine fails; then a later question begins anew.
async fn read(engine: &Engine, id: &str, meter: &Meter, latest: &watch::Sender<Option<Sample>>) {
    let call = engine
        .client
        .get(format!("/containers/{id}/stats"))
        .query("stream", true);
    let Ok(body) = call.stream().await else { return };
    let mut lines = Lines::new(body.boxed());
    while meter.is_wanted() && !engine.is_shut_down() {
        // The stream has a line a second, or is dead.
        let Ok(Some(Ok(reading))) = tokio::time::timeout(KEEP, lines.next::<Reading>()).await else {
            return;
        };
        // The engine goes on with empty readings when the container has ended.
        let Some(stats) = reading.stats() else { return };
        let at = Instant::now();
        latest.send_replace(Some(Sample { stats, at }));
    }
}
