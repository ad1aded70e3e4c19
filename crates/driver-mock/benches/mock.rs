//! What a call costs without delays, on one core: the driver's own overhead.
//!
//! The figures to beat are 1,000,000 `get_container` and 200,000 create-start-stop-remove cycles a second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use driver_mock::{MockDriver, MockOptions, Profile, World};
use driver_types::{ContainerConfig, ContainerDriver, ContainerFilter, RemoveOptions, StopOptions};
use tokio::runtime::{Builder, Runtime};

/// Calls in one pass of the runtime, so that entering it does not count.
const BATCH: u64 = 1000;

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn driver(profile: Profile) -> MockDriver {
    MockDriver::open(&World::new(profile), MockOptions::default()).expect("the owner is valid")
}

/// A container whose process waits for a signal.
fn config() -> ContainerConfig {
    ContainerConfig::new("session-1", "alpine:latest").command(["sh"])
}

async fn cycle(driver: &dyn ContainerDriver, config: &ContainerConfig) {
    let container = driver.create_container(config).await.expect("created");
    driver.start_container(&container.id).await.expect("started");
    driver
        .stop_container(&container.id, &StopOptions::default())
        .await
        .expect("stopped");
    driver
        .remove_container(&container.id, &RemoveOptions::default())
        .await
        .expect("removed");
}

fn get_container(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("get_container");
    group.throughput(Throughput::Elements(BATCH));
    for profile in Profile::ALL {
        let driver = driver(profile);
        let id = runtime.block_on(async {
            for _ in 0..100 {
                driver.create_container(&config()).await.expect("created");
            }
            driver.create_container(&config()).await.expect("created").id
        });
        let driver: &dyn ContainerDriver = &driver;
        group.bench_function(profile.name(), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    for _ in 0..BATCH {
                        assert!(driver.get_container(&id).await.expect("found").is_some());
                    }
                });
            });
        });
    }
    group.finish();
}

fn cycles(criterion: &mut Criterion) {
    let runtime = runtime();
    let config = config();
    let mut group = criterion.benchmark_group("create_start_stop_remove");
    group.throughput(Throughput::Elements(BATCH));
    for profile in Profile::ALL {
        let driver = driver(profile);
        group.bench_function(profile.name(), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    for _ in 0..BATCH {
                        cycle(&driver, &config).await;
                    }
                });
            });
        });
    }
    group.finish();
}

fn list_of_a_session(criterion: &mut Criterion) {
    let runtime = runtime();
    let filter = ContainerFilter::session("session-50");
    criterion.bench_function("list_10_of_10000", |bencher| {
        let driver = driver(Profile::Docker);
        runtime.block_on(async {
            for number in 0..10_000 {
                let session_id = format!("session-{}", number / 10);
                let config = ContainerConfig {
                    session_id,
                    ..config()
                };
                driver.create_container(&config).await.expect("created");
            }
        });
        bencher.iter(|| {
            let listed = runtime.block_on(driver.list_containers(&filter)).expect("listed");
            assert_eq!(listed.len(), 10);
        });
    });
}

criterion_group!(benches, get_container, cycles, list_of_a_session);
criterion_main!(benches);
