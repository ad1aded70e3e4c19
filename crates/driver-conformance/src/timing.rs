//! Measures the operations of a driver, one call at a time, for the comparison of drivers.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use driver_types::{
    Capabilities, Capability, ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerFilter,
    ExecSpec, LogOptions, PullPolicy, RemoveOptions, Result, StopOptions,
};

use crate::factory::SuppliedImage;
use crate::report::Timing;

/// Lives that are measured.
const ROUNDS: usize = 7;

/// The times of one operation, in microseconds.
#[derive(Default)]
struct Samples(Vec<(&'static str, Vec<u64>)>);

impl Samples {
    async fn time<T>(&mut self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let started = Instant::now();
        let result = call.await?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match self.0.iter_mut().find(|(name, _)| *name == operation) {
            Some((_, samples)) => samples.push(micros),
            None => self.0.push((operation, vec![micros])),
        }
        Ok(result)
    }
}

/// Median times of the common operations. Nothing but this may use the driver meanwhile.
pub(crate) async fn measure(driver: &Arc<dyn ContainerDriver>, image: &SuppliedImage) -> Vec<Timing> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        // An operation that fails has no time; the cases have told about it already.
        if life(driver.as_ref(), image, &mut samples).await.is_err() {
            break;
        }
    }
    samples
        .0
        .into_iter()
        .map(|(operation, samples)| Timing::of(operation, samples))
        .collect()
}

async fn life(driver: &dyn ContainerDriver, image: &SuppliedImage, samples: &mut Samples) -> Result<()> {
    let capabilities = driver.capabilities().await?;
    let config = ContainerConfig::new("timing", &image.reference)
        .entrypoint([&image.program])
        .command(["out", "ready", ",", "forever"])
        .pull_policy(PullPolicy::Never);
    let container = samples
        .time("create_container", driver.create_container(&config))
        .await?;
    let result = live(driver, image, &capabilities, &container.id, samples).await;
    driver.force_remove(&container.id).await?;
    result
}

async fn live(
    driver: &dyn ContainerDriver,
    image: &SuppliedImage,
    capabilities: &Capabilities,
    id: &str,
    samples: &mut Samples,
) -> Result<()> {
    samples
        .time("start_container", driver.start_container(id))
        .await?;
    samples.time("get_container", driver.get_container(id)).await?;
    samples
        .time(
            "list_containers",
            driver.list_containers(&ContainerFilter::default()),
        )
        .await?;
    samples
        .time(
            "get_container_logs",
            driver.get_container_logs(id, &LogOptions::default()),
        )
        .await?;
    samples.time("health_check", driver.health_check()).await?;
    if capabilities.supports(Capability::Exec) {
        let spec = ExecSpec::new([&image.program]);
        samples.time("exec", driver.exec(id, &spec)).await?;
    }
    if capabilities.supports(Capability::Pause) {
        samples
            .time("pause_container", driver.pause_container(id))
            .await?;
        samples
            .time("resume_container", driver.resume_container(id))
            .await?;
    }
    if capabilities.supports(Capability::Stats) {
        samples
            .time("container_stats", driver.container_stats(id))
            .await?;
    }
    samples
        .time(
            "stop_container",
            driver.stop_container(id, &StopOptions::default()),
        )
        .await?;
    samples
        .time(
            "remove_container",
            driver.remove_container(id, &RemoveOptions::default()),
        )
        .await
}
