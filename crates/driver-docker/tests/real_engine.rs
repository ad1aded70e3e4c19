//! A real engine in unusual places: over TCP, and one that misses what the kernel did.
//!
//! Without an engine each test says that it is skipped, or fails where `DRIVER_REQUIRE_DOCKER` is set.
#![allow(clippy::unwrap_used)]

mod real;

use std::time::Duration;

use driver_docker::Host;
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerStatus, Event, EventFilter, EventKind,
    ExecSpec, ExitReason, LogOptions, ResourceLimits, SecurityOptions, StopOptions,
};
use futures_util::StreamExt;
use real::{RealEngine, proxy};

const BUSYBOX: &str = "/bin/busybox";
const LIMIT: Duration = Duration::from_secs(60);

/// The kernel's log must be this machine's and readable.
fn reads_kernel_log(engine: &RealEngine) -> bool {
    matches!(engine.host, Host::Unix(_)) && std::fs::File::open("/dev/kmsg").is_ok()
}

/// Up to the next exit.
async fn told(
    events: &mut (impl futures_util::Stream<Item = driver_types::Result<Event>> + Unpin),
) -> Vec<EventKind> {
    let mut told = Vec::new();
    loop {
        let event = tokio::time::timeout(LIMIT, events.next()).await.unwrap();
        told.push(event.unwrap().unwrap().kind);
        if matches!(told.last(), Some(EventKind::Exited { .. })) {
            return told;
        }
    }
}

fn count_oom(told: &[EventKind]) -> usize {
    told.iter().filter(|kind| matches!(kind, EventKind::Oom)).count()
}

fn reason(told: &[EventKind]) -> Option<ExitReason> {
    match told.last() {
        Some(EventKind::Exited { exit }) => Some(exit.reason),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernels_log_tells_what_the_engine_misses() {
    let Some(engine) = RealEngine::open("oom").await else {
        return;
    };
    if !reads_kernel_log(&engine) {
        let _: Option<()> = real::skip("no kernel log of the engine's machine");
        return engine.close().await;
    }
    let directory = tempfile::tempdir().unwrap();
    let deaf = proxy::deaf_to_memory(&engine.host, &directory.path().join("s"));
    let driver = engine.driver(deaf.clone());
    let mut events = driver.events(&EventFilter::default()).await.unwrap();
    // The second run ends at `mkdir`, before it needs memory.
    let script =
        "busybox mkdir /work/once || exit 3; exec busybox dd if=/dev/zero of=/dev/null bs=300M count=1";
    let config = ContainerConfig::new("s", &engine.image)
        .command([BUSYBOX, "sh", "-c", script])
        .env("PATH", "/bin")
        .security(SecurityOptions::default().read_only(false))
        .resources(ResourceLimits::default().memory(32));
    let id = driver.run_container(&config).await.unwrap().id;
    let exit = driver.wait_exit(&id).await.unwrap();
    assert_eq!((exit.exit_code, exit.reason), (Some(137), ExitReason::Oom));
    let first = told(&mut events).await;
    assert_eq!(
        (count_oom(&first), reason(&first)),
        (1, Some(ExitReason::Oom)),
        "{first:?}"
    );

    // One that did not see the run, and cannot hear of it any more.
    let later = engine.driver(deaf);
    let seen = later.require_container(&id).await.unwrap();
    assert_eq!(seen.exit.map(|exit| exit.reason), Some(ExitReason::Oom));

    driver.start_container(&id).await.unwrap();
    let exit = driver.wait_exit(&id).await.unwrap();
    assert_eq!((exit.exit_code, exit.reason), (Some(3), ExitReason::Exited));
    let second = told(&mut events).await;
    assert_eq!(
        (count_oom(&second), reason(&second)),
        (0, Some(ExitReason::Exited)),
        "{second:?}"
    );
    let seen = later.require_container(&id).await.unwrap();
    assert_eq!(seen.exit.map(|exit| exit.reason), Some(ExitReason::Exited));
    driver.force_remove(&id).await.unwrap();
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_over_tcp() {
    let Some(engine) = RealEngine::open("tcp").await else {
        return;
    };
    let driver = engine.driver(proxy::over_tcp(&engine.host).await);
    let mut events = driver.events(&EventFilter::default()).await.unwrap();
    let config = ContainerConfig::new("s", &engine.image)
        .command([BUSYBOX, "sh", "-c", "echo up; exec busybox sleep 1000"])
        .env("PATH", "/bin");
    let id = driver.run_container(&config).await.unwrap().id;
    let ran = driver
        .exec(&id, &ExecSpec::new([BUSYBOX, "cat"]).stdin("over tcp"))
        .await
        .unwrap();
    assert_eq!((ran.exit_code, ran.stdout.as_ref()), (0, b"over tcp".as_ref()));
    driver.stop_container(&id, &StopOptions::default()).await.unwrap();
    assert_eq!(
        driver.require_container(&id).await.unwrap().status,
        ContainerStatus::Stopped
    );
    let logs = driver
        .get_container_logs(&id, &LogOptions::default())
        .await
        .unwrap();
    assert_eq!(logs, "up\n");
    assert_eq!(reason(&told(&mut events).await), Some(ExitReason::Stopped));
    let checks = driver.preflight().await.unwrap().checks;
    let kernel_log = checks.iter().find(|check| check.name == "kernel log");
    assert!(
        kernel_log.is_some_and(|check| check.remedy.is_some()),
        "{checks:?}"
    );
    driver.force_remove(&id).await.unwrap();
    assert_eq!(driver.get_container(&id).await.unwrap(), None);
    engine.close().await;
}
