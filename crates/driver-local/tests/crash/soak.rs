//! Many lifecycles, and many containers at once: everything returns to the start.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use driver_local::LocalDriver;
use driver_types::{
    ContainerDriver, LogOptions, RemoveOptions, Result, ShutdownMode, StopOptions, WaitCondition,
};
use futures_util::{StreamExt, stream};

use crate::Bench;
use crate::app::{open, until_ready};
use crate::leftovers;
use crate::workload::{GRACE_MS, Workload};

/// Lifecycles at the same time.
const WORKERS: usize = 8;
/// Containers that are started or stopped at the same time.
const ENDINGS: usize = 16;
/// The memory of the process may grow by this much after the first tenth: allocators keep what they have.
const GROWTH_KIB: u64 = 64 << 10;

/// What is counted.
#[derive(Default)]
struct Figures {
    complaints: Mutex<Vec<String>>,
    ids: Mutex<BTreeSet<String>>,
    exits: AtomicUsize,
    lines: AtomicUsize,
}

/// `DRIVER_SOAK_LIFECYCLES` one after another, then `DRIVER_SOAK_AT_ONCE` at once.
pub(crate) fn run(bench: &Bench) -> Vec<String> {
    let lifecycles = crate::number("DRIVER_SOAK_LIFECYCLES", 100);
    let at_once = crate::number("DRIVER_SOAK_AT_ONCE", 20);
    let figures = Figures::default();
    let mut checks = Vec::new();
    bench.runtime.block_on(async {
        let driver = open(&bench.judge.state).unwrap();
        // Warm: threads, descriptors of the runtime and of the watcher are there.
        many(&driver, &figures, 0..lifecycles.div_ceil(10)).await;
        crowd(&driver, &figures, at_once.min(20)).await;
        let start = settled(&driver, &bench.judge.state, &figures).await;
        many(&driver, &figures, lifecycles.div_ceil(10)..lifecycles).await;
        println!("after {lifecycles} lifecycles: {}", now());
        crowd(&driver, &figures, at_once).await;
        let end = settled(&driver, &bench.judge.state, &figures).await;
        println!("start: {start:?}, end: {end:?} (descriptors, KiB)");
        if end.0 > start.0 {
            checks.push(format!("{} descriptors more", end.0 - start.0));
        }
        if end.1 > start.1 + GROWTH_KIB {
            checks.push(format!("{} KiB of memory more", end.1 - start.1));
        }
        driver.shutdown(ShutdownMode::Leave).await.unwrap();
    });
    let complaints = figures.complaints.into_inner().unwrap();
    println!(
        "{lifecycles} lifecycles, {at_once} at once: {} exits and {} lines as they should be, {} complaints",
        figures.exits.into_inner(),
        figures.lines.into_inner(),
        complaints.len()
    );
    checks.extend(complaints);
    checks
}

fn now() -> String {
    format!(
        "{} descriptors, {} KiB",
        leftovers::descriptors().unwrap_or(0),
        leftovers::memory()
    )
}

/// Descriptors and memory when nothing is left of any container; what is left is a complaint.
async fn settled(driver: &LocalDriver, state: &std::path::Path, figures: &Figures) -> (usize, u64) {
    if let Err(error) = driver.recover().await {
        figures.complain(format!("recover: {error}"));
    }
    let ids = figures.ids.lock().unwrap().clone();
    let left = tokio::task::block_in_place(|| {
        leftovers::stays(|| {
            let mut left = leftovers::in_kernel(state, &ids);
            left.retain(|left| !left.contains("a book of networks"));
            let containers = leftovers::paths(&state.join("containers"));
            let trash = leftovers::paths(&state.join("trash"));
            left.extend(containers.union(&trash).map(|path| path.display().to_string()));
            left
        })
    });
    left.into_iter()
        .for_each(|left| figures.complain(format!("left behind: {left}")));
    (leftovers::descriptors().unwrap_or(0), leftovers::memory())
}

impl Figures {
    fn complain(&self, what: String) {
        println!("{what}");
        self.complaints.lock().unwrap().push(what);
    }
}

async fn many(driver: &LocalDriver, figures: &Figures, numbers: std::ops::Range<usize>) {
    stream::iter(numbers)
        .for_each_concurrent(WORKERS, async |number| {
            if let Err(error) = lifecycle(driver, figures, number).await {
                figures.complain(format!("lifecycle {number}: {error}"));
            }
        })
        .await;
}

async fn make(driver: &LocalDriver, figures: &Figures, workload: Workload, name: &str) -> Result<String> {
    let id = driver.create_container(&workload.config(name)).await?.id;
    figures.ids.lock().unwrap().insert(id.clone());
    driver.start_container(&id).await?;
    Ok(id)
}

async fn lifecycle(driver: &LocalDriver, figures: &Figures, number: usize) -> Result<()> {
    let workload = Workload::ends(1 + (number % 50) as u32, (number % 120) as u8);
    let name = workload.name(number);
    let id = make(driver, figures, workload, &name).await?;
    let exit = driver.wait_container(&id, WaitCondition::Exited).await?;
    judge(driver, figures, workload, &name, &id, exit.exit_code).await?;
    driver.remove_container(&id, &RemoveOptions::default()).await
}

async fn judge(
    driver: &LocalDriver,
    figures: &Figures,
    workload: Workload,
    name: &str,
    id: &str,
    code: Option<i32>,
) -> Result<()> {
    if code == Some(workload.code.into()) {
        figures.exits.fetch_add(1, Ordering::Relaxed);
    } else {
        figures.complain(format!("{name}: it exited with {code:?}"));
    }
    let log = driver.get_container_logs(id, &LogOptions::default()).await?;
    if log == workload.output() {
        figures.lines.fetch_add(log.lines().count(), Ordering::Relaxed);
    } else {
        figures.complain(format!("{name}: its log is {log:?}"));
    }
    Ok(())
}

/// Containers that live at the same time.
async fn crowd(driver: &LocalDriver, figures: &Figures, count: usize) {
    let workload = Workload::waits(10, 6);
    let started: Vec<(String, Result<String>)> = stream::iter(0..count)
        .map(async |number| {
            let name = workload.name(format!("crowd{number}"));
            let made = make(driver, figures, workload, &name).await;
            (name, made)
        })
        .buffer_unordered(ENDINGS)
        .collect()
        .await;
    println!("{count} containers at once: {}", now());
    stream::iter(started)
        .for_each_concurrent(ENDINGS, async |(name, made)| {
            let ended = async {
                let id = made?;
                until_ready(driver, workload, &id).await?;
                driver
                    .stop_container(&id, &StopOptions::timeout(GRACE_MS))
                    .await?;
                let exit = driver.get_container(&id).await?.and_then(|found| found.exit);
                judge(
                    driver,
                    figures,
                    workload,
                    &name,
                    &id,
                    exit.and_then(|exit| exit.exit_code),
                )
                .await?;
                driver.remove_container(&id, &RemoveOptions::default()).await
            };
            if let Err(error) = ended.await {
                figures.complain(format!("{name}: {error}"));
            }
        })
        .await;
}
