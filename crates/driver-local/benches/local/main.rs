//! The driver against the floor of the kernel and other runtimes, in the same run: `cargo xtask bench local`.
//!
//! Rounds go over all of them in turn with 20 ms of idling between containers, so that all see the same noise; medians are
//! compared. The floor (`floor.c`) does the kernel's work of a container in one process and nothing else: no supervisor, no
//! state on disk. With `DRIVER_BENCH_OUT` the table is also written to that file.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark without its preconditions cannot go on"
)]

mod driver;
mod rivals;
mod table;

use std::time::Duration;

use table::Table;

/// Between two containers: in a tight loop a lock of the kernel stays in its slow mode and hides what a cgroup costs.
const IDLE: Duration = Duration::from_millis(20);
/// Between two that are measured.
const SETTLE: Duration = Duration::from_millis(100);
/// Some rounds with `DRIVER_BENCH_QUICK`, to see that all of it works.
fn rounds(full: usize) -> usize {
    if std::env::var_os("DRIVER_BENCH_QUICK").is_some() {
        full.div_ceil(10)
    } else {
        full
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut table = Table::default();
    runtime.block_on(async {
        let Some(bench) = driver::Bench::begin().await else {
            return;
        };
        let rivals = rivals::all(bench.root());
        lifecycles(&bench, &rivals, &mut table).await;
        execs(&bench, &rivals, &mut table).await;
        starts(&bench, &rivals, &mut table).await;
        in_flight(&bench, &rivals, &mut table).await;
        bench.memory(&mut table).await;
        bench.logs(&mut table).await;
        bench.many(&mut table).await;
        bench.end().await;
    });
    table.publish();
}

/// Create, start, run `true`, wait, remove.
async fn lifecycles(bench: &driver::Bench, rivals: &rivals::Rivals, table: &mut Table) {
    /// Of each round.
    const EACH: usize = 5;
    let mut ours = vec![Vec::new(); driver::KINDS.len()];
    let mut theirs = vec![Vec::new(); rivals.lifecycles.len()];
    // Nobody always comes after the same one: some leave work behind in the background.
    let mut order: Vec<usize> = (0..theirs.len() + ours.len()).collect();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..rounds(20) {
        random.shuffle(&mut order);
        for &next in &order {
            tokio::time::sleep(SETTLE).await;
            let Some(kind) = next.checked_sub(theirs.len()) else {
                theirs[next].extend(rivals.lifecycles[next].measure(EACH));
                continue;
            };
            for _ in 0..EACH {
                tokio::time::sleep(IDLE).await;
                ours[kind].push(bench.lifecycle(driver::KINDS[kind]).await);
            }
        }
    }
    let floor = theirs
        .first_mut()
        .filter(|floor| !floor.is_empty())
        .map(|floor| table::median(floor));
    table.section("create + start + run `true` + wait + remove");
    for (rival, samples) in rivals.lifecycles.iter().zip(&mut theirs) {
        table.times(rival.name, samples, floor);
    }
    for (kind, samples) in driver::KINDS.iter().zip(&mut ours) {
        table.times(kind.name(), samples, floor);
    }
}

/// `true` in a container that runs.
async fn execs(bench: &driver::Bench, rivals: &rivals::Rivals, table: &mut Table) {
    const EACH: usize = 10;
    let kinds = [driver::Kind::ReadOnly, driver::Kind::Cold];
    let mut containers = Vec::new();
    for kind in kinds {
        containers.push(bench.running(kind).await);
    }
    let (mut ours, mut theirs) = (vec![Vec::new(); kinds.len()], Vec::new());
    for _ in 0..rounds(20) {
        theirs.extend(rivals.join(containers[0].init, EACH));
        for ((kind, container), ours) in kinds.iter().zip(&containers).zip(&mut ours) {
            for _ in 0..EACH {
                tokio::time::sleep(IDLE).await;
                ours.push(bench.exec(*kind, &container.id).await);
            }
        }
    }
    for (kind, container) in kinds.iter().zip(&containers) {
        bench.remove(*kind, &container.id).await;
    }
    table.section("exec `true` in a running container");
    let floor = (!theirs.is_empty()).then(|| table::median(&mut theirs));
    table.times("floor: join its namespaces, fork, exec, wait", &mut theirs, floor);
    for (name, samples) in ["driver-local", "driver-local, nothing prepared"]
        .iter()
        .zip(&mut ours)
    {
        table.times(name, samples, floor);
    }
}

/// How many containers are worked on at the same time.
const WORKERS: usize = 16;

/// Create and start, 16 at the same time, of containers that go on running.
async fn starts(bench: &driver::Bench, rivals: &rivals::Rivals, table: &mut Table) {
    let each = rounds(20);
    table.section(&format!(
        "containers started a second, 16 in flight, until {} run",
        WORKERS * each
    ));
    let crun = ("crun run --detach", rivals.start_rate(WORKERS, each));
    let ours = async |kind| bench.start_rate(kind, WORKERS, each).await;
    rates(crun, ours, table).await;
}

/// Whole lifecycles, 16 at the same time.
async fn in_flight(bench: &driver::Bench, rivals: &rivals::Rivals, table: &mut Table) {
    let each = rounds(50);
    table.section("lifecycles a second, 16 in flight");
    let floor = ("floor", rivals.rate(WORKERS, each));
    let ours = async |kind| bench.rate(kind, WORKERS, each).await;
    rates(floor, ours, table).await;
}

/// A rival's rate, if it is here, and ours of each kind beside it.
async fn rates(
    (name, theirs): (&str, Option<f64>),
    ours: impl AsyncFn(driver::Kind) -> f64,
    table: &mut Table,
) {
    if let Some(theirs) = theirs {
        table.figure(name, format!("{theirs:.0}"), None);
    }
    for kind in driver::KINDS {
        let rate = ours(kind).await;
        let ratio = theirs.map(|theirs| rate / theirs);
        table.figure(kind.name(), format!("{rate:.0}"), ratio);
    }
}
