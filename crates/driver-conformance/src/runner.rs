//! Runs cases on one driver: each in a task of its own, with a driver, an owner and a leak ledger of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_types::ContainerDriver;
use futures_util::{StreamExt, stream};

use crate::case::{Case, CaseError, Failure};
use crate::context::{Context, Setting};
use crate::factory::{DriverFactory, OpenOptions, SuppliedImage};
use crate::ledger;
use crate::report::{CaseReport, Details, DriverReport, Outcome};
use crate::timing;
use crate::tracked::Inventory;
use crate::workload;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOptions {
    /// Cases at the same time.
    pub(crate) jobs: usize,
    /// Measure the operations as well, after the cases.
    pub(crate) measure: bool,
}

/// Hears of every case that has ended.
pub(crate) trait Progress: Send + Sync {
    fn ended(&self, driver: &str, case: &CaseReport);
}

/// A driver that can run here, with the image of the workload program.
struct Subject {
    setting: Setting,
    driver: Arc<dyn ContainerDriver>,
    /// Unique to this run.
    token: String,
}

/// Runs the cases on the driver of a factory.
pub(crate) async fn run_driver(
    factory: Arc<dyn DriverFactory>,
    cases: &[Arc<Case>],
    options: RunOptions,
    progress: &dyn Progress,
) -> DriverReport {
    let subject = match Subject::prepare(factory.clone()).await {
        Ok(subject) => subject,
        Err(reason) => return DriverReport::unavailable(factory.name(), reason),
    };
    let (serial, parallel): (Vec<_>, Vec<_>) = cases.iter().enumerate().partition(|(_, case)| case.serial);
    let mut reports = Vec::with_capacity(cases.len());
    for (jobs, batch) in [(options.jobs.max(1), parallel), (1, serial)] {
        let mut running = stream::iter(batch)
            .map(|(index, case)| {
                let run = subject.run_case(index, case.clone());
                async move { (index, run.await) }
            })
            .buffer_unordered(jobs);
        while let Some((index, report)) = running.next().await {
            progress.ended(factory.name(), &report);
            reports.push((index, report));
        }
    }
    reports.sort_by_key(|(index, _)| *index);
    let timings = if options.measure {
        timing::measure(&subject.driver, &subject.setting.image).await
    } else {
        Vec::new()
    };
    let details = Details {
        capabilities: subject.setting.capabilities.clone(),
        timings,
    };
    let reports = reports.into_iter().map(|(_, report)| report).collect();
    let mut report = DriverReport::ran(factory.name(), subject.driver.version(), reports, details);
    report.reason = subject.finish().await.err();
    report
}

impl Subject {
    /// Opens the driver and brings the image into it, or says why that cannot be.
    async fn prepare(factory: Arc<dyn DriverFactory>) -> Result<Self, String> {
        let token = run_token();
        let driver = factory
            .open(&OpenOptions::new(&token))
            .await
            .map_err(|reason| reason.0)?;
        let health = driver.health_check().await.map_err(|error| error.report())?;
        if !health.is_healthy() {
            return Err(health
                .error
                .unwrap_or_else(|| "the driver says that it is not healthy".to_owned()));
        }
        let capabilities = driver.capabilities().await.map_err(|error| error.report())?;
        let supplied = factory.image().await;
        let image_is_supplied = supplied.is_some();
        let image = match supplied {
            Some(image) => image,
            None => import(factory.as_ref(), driver.as_ref(), &token).await?,
        };
        let setting = Setting {
            factory,
            capabilities,
            image,
            image_is_supplied,
        };
        Ok(Self {
            setting,
            driver,
            token,
        })
    }

    /// Removes the image again.
    async fn finish(self) -> Result<(), String> {
        if !self.setting.image_is_supplied {
            let removed = self.driver.remove_image(&self.setting.image.reference).await;
            removed.map_err(|error| format!("cannot remove the image of the suite: {}", error.report()))?;
        }
        Ok(())
    }

    async fn run_case(&self, index: usize, case: Arc<Case>) -> CaseReport {
        if let Some(reason) = case.reason_to_skip(&self.setting.capabilities) {
            return CaseReport::new(&case.id, Outcome::Skipped, Some(reason), Duration::ZERO);
        }
        let started = Instant::now();
        let token = format!("{}-{index:03}", self.token);
        let inventory = Arc::new(Inventory::default());
        let verdict = self.attempt(case.clone(), token.clone(), inventory.clone()).await;
        let leaks = ledger::settle(self.setting.factory.as_ref(), &inventory, &token).await;
        let (outcome, reason) = judge(verdict, &leaks);
        CaseReport::new(&case.id, outcome, reason, started.elapsed())
    }

    /// Runs the body of a case; neither a panic nor a hang of it gets further than here.
    async fn attempt(
        &self,
        case: Arc<Case>,
        token: String,
        inventory: Arc<Inventory>,
    ) -> Result<(), CaseError> {
        let setting = self.setting.clone();
        let timeout = case.timeout;
        let mut task = tokio::spawn(async move {
            let context = Context::open(setting, token, inventory).await?;
            (case.run)(context).await
        });
        match tokio::time::timeout(timeout, &mut task).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Failure::new("no panic", panic.to_string()).into()),
            Err(_) => {
                task.abort();
                // Its futures have to be dropped before the ledger looks.
                let _ = task.await;
                let seconds = timeout.as_secs();
                Err(Failure::new(
                    format!("an end within {seconds} s"),
                    "it still ran, and was cancelled",
                )
                .into())
            }
        }
    }
}

/// A leak fails a case, whatever else it did.
fn judge(verdict: Result<(), CaseError>, leaks: &[String]) -> (Outcome, Option<String>) {
    let leaks = leaks.join("\n");
    match (verdict, leaks.is_empty()) {
        (Ok(()), true) => (Outcome::Passed, None),
        (Err(CaseError::Skipped(reason)), true) => (Outcome::Skipped, Some(reason)),
        (Ok(()) | Err(CaseError::Skipped(_)), false) => (
            Outcome::Failed,
            Some(format!(
                "expected: nothing left after the case\n     got: {leaks}"
            )),
        ),
        (Err(CaseError::Failed(failure)), true) => (Outcome::Failed, Some(failure.to_string())),
        (Err(CaseError::Failed(failure)), false) => {
            (Outcome::Failed, Some(format!("{failure}\n    also: {leaks}")))
        }
    }
}

/// Short, and unique among runs that share an engine.
fn run_token() -> String {
    let nanos = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |elapsed| elapsed.as_nanos());
    format!(
        "cf{:x}-{}",
        (nanos / 1_000_000) & 0xff_ffff_ffff,
        std::process::id()
    )
}

async fn import(
    factory: &dyn DriverFactory,
    driver: &dyn ContainerDriver,
    token: &str,
) -> Result<SuppliedImage, String> {
    let archive = workload::image_archive(factory.simulated())?;
    let options = workload::import_options(&format!("driver-conformance/workload:{token}"));
    let stream = Box::pin(stream::iter([Ok(archive)]));
    let imported: Result<_, _> = driver.import_image(&options, stream).await;
    imported.map_err(|error| format!("cannot import the image of the suite: {}", error.report()))?;
    Ok(SuppliedImage {
        reference: options.reference,
        program: workload::PROGRAM.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_fails_a_case_whatever_else_it_did() {
        let leak = ["left behind: container 1".to_owned()];
        let failure = || Failure {
            expected: "a".into(),
            got: "b".into(),
            place: "c".into(),
        };
        let verdicts = [
            Ok(()),
            Err(CaseError::Skipped("x".into())),
            Err(CaseError::Failed(failure())),
        ];
        for verdict in verdicts {
            let (outcome, reason) = judge(verdict, &leak);
            assert_eq!(outcome, Outcome::Failed);
            assert!(reason.is_some_and(|reason| reason.contains("container 1")));
        }
        assert_eq!(judge(Ok(()), &[]), (Outcome::Passed, None));
        assert_eq!(
            judge(Err(CaseError::Skipped("x".into())), &[]).0,
            Outcome::Skipped
        );
        assert_eq!(judge(Err(CaseError::Failed(failure())), &[]).0, Outcome::Failed);
    }
}
