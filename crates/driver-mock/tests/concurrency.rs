//! Many tasks on few containers: whatever the order, every call ends as the contract says, and the books agree.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use driver_mock::{Clock, MockDriver, MockOptions, Profile, Script, World};
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerFilter, ContainerStatus, EventFilter, EventKind,
    RemoveOptions, Result, Signal, StopOptions,
};
use futures_util::{FutureExt, StreamExt};
use rstest::rstest;

fn config(session: &str) -> ContainerConfig {
    ContainerConfig::new(session, "alpine:latest").command(["sh"])
}

fn open(profile: Profile) -> Arc<MockDriver> {
    // No event may be lost: the readers read at the end.
    let script = Script {
        event_buffer: 1 << 16,
        ..Script::default()
    };
    let world = World::with_script(profile, script, Clock::tokio());
    Arc::new(MockDriver::open(&world, MockOptions::default()).unwrap())
}

/// A small generator, so that each task has its own sequence and a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn any_call(driver: &MockDriver, id: &str, dice: &mut Dice) -> Result<()> {
    match dice.roll(8) {
        0 | 1 => driver.start_container(id).await,
        2 => driver.stop_container(id, &StopOptions::default()).await,
        3 => driver.stop_container(id, &StopOptions::force()).await,
        4 => driver.pause_container(id).await,
        5 => driver.resume_container(id).await,
        6 => driver.signal_container(id, Signal::KILL).await,
        _ => driver.get_container(id).await.map(|found| {
            // Whatever is seen is a whole snapshot.
            if let Some(found) = found {
                assert_eq!(found.state, found.status.state());
                assert_eq!(
                    found.exit.is_some(),
                    found.status.has_ended(),
                    "{:?}",
                    found.status
                );
            }
        }),
    }
}

#[rstest]
#[case(Profile::Docker)]
#[case(Profile::Local)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_on_the_same_containers_race(#[case] profile: Profile) {
    const CONTAINERS: usize = 3;
    let driver = open(profile);
    let events = driver.events(&EventFilter::default()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..CONTAINERS {
        ids.push(driver.create_container(&config("race")).await.unwrap().id);
    }
    let ids = Arc::new(ids);
    let tasks: Vec<_> = (0..16)
        .map(|seed| {
            let (driver, ids) = (Arc::clone(&driver), Arc::clone(&ids));
            tokio::spawn(async move {
                let mut dice = Dice(seed);
                for _ in 0..200 {
                    let id = &ids[dice.roll(CONTAINERS as u64) as usize];
                    if let Err(error) = any_call(&driver, id, &mut dice).await {
                        assert_eq!(error.code(), "INVALID_STATE", "{error:?}");
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }

    let by_status = ContainerStatus::ALL.map(|status| ContainerFilter {
        status: vec![status],
        ..ContainerFilter::default()
    });
    let mut listed = 0;
    for filter in by_status {
        listed += driver.list_containers(&filter).await.unwrap().len();
    }
    assert_eq!(listed, CONTAINERS, "each container is in one status");
    for id in ids.iter() {
        driver
            .remove_container(id, &RemoveOptions::force())
            .await
            .unwrap();
    }
    assert!(driver.world().leftovers("default").is_empty());
    replay(events, &ids).await;
}

/// Each container's events are a walk through the state table, from its making to its removal.
async fn replay(mut events: driver_types::BoxStream<driver_types::Event>, ids: &[String]) {
    let mut statuses: HashMap<String, ContainerStatus> = HashMap::new();
    let mut removed = 0;
    while removed < ids.len() {
        let event = events.next().await.unwrap().unwrap();
        assert_ne!(event.kind, EventKind::Lagged);
        let Some(id) = event.container_id else {
            continue;
        };
        use ContainerStatus as S;
        let before = statuses.get(&id).copied();
        let after = match (before, &event.kind) {
            (None, EventKind::Created) => S::Created,
            (Some(S::Created | S::Exited), EventKind::Started) => S::Running,
            (Some(S::Running), EventKind::Paused) => S::Paused,
            (Some(S::Paused), EventKind::Resumed) => S::Running,
            (Some(S::Running | S::Paused), EventKind::Exited { .. }) => S::Exited,
            (Some(S::Created | S::Exited), EventKind::Removed) => {
                removed += 1;
                S::Removing
            }
            (before, kind) => panic!("{kind:?} of a container that is {before:?}"),
        };
        statuses.insert(id, after);
    }
    assert_eq!((statuses.len(), removed), (ids.len(), ids.len()));
}

#[rstest]
#[case::by_name(true)]
#[case::by_request(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_creates_one_container_comes(#[case] by_name: bool) {
    let driver = open(Profile::Docker);
    let mut config = config("race");
    if by_name {
        config.name = Some("web".to_owned());
    } else {
        config.request_id = Some("request".to_owned());
    }
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (driver, config) = (Arc::clone(&driver), config.clone());
            tokio::spawn(async move { driver.create_container(&config).await })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(container) => made.push(container.id),
            Err(error) => {
                assert!(by_name, "a repeated request is no error: {error:?}");
                assert_eq!(
                    (error.code(), error.is_retryable()),
                    ("CONTAINER_CREATION_FAILED", false)
                );
            }
        }
    }
    assert_eq!(made.len(), if by_name { 1 } else { 32 });
    made.dedup();
    assert_eq!(made.len(), 1, "all got the same container");
    assert_eq!(
        driver
            .list_containers(&ContainerFilter::default())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_removes_one_succeeds() {
    let driver = open(Profile::Docker);
    for _ in 0..50 {
        let container = driver.create_container(&config("race")).await.unwrap();
        driver.start_container(&container.id).await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (driver, id) = (Arc::clone(&driver), container.id.clone());
                tokio::spawn(async move { driver.remove_container(&id, &RemoveOptions::force()).await })
            })
            .collect();
        let mut removed = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => removed += 1,
                Err(error) => assert_eq!(error.code(), "CONTAINER_NOT_FOUND", "{error:?}"),
            }
        }
        assert_eq!(removed, 1);
    }
    assert!(
        driver
            .list_containers(&ContainerFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
}

/// Dropping any call at any point leaves the container usable and the books in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_dropped_leave_nothing_half_done() {
    let driver = open(Profile::Docker);
    let id = driver.create_container(&config("race")).await.unwrap().id;
    let tasks: Vec<_> = (0..8)
        .map(|seed| {
            let (driver, id) = (Arc::clone(&driver), id.clone());
            tokio::spawn(async move {
                let mut dice = Dice(seed);
                for _ in 0..100 {
                    let abandoned = dice.roll(2) == 0;
                    let call = any_call(&driver, &id, &mut dice);
                    if abandoned {
                        // Polled once, then dropped.
                        drop(call.now_or_never());
                    } else if let Err(error) = call.await {
                        assert_eq!(error.code(), "INVALID_STATE", "{error:?}");
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Nobody holds the turn: these would wait for ever.
    driver.stop_container(&id, &StopOptions::force()).await.unwrap();
    driver.start_container(&id).await.unwrap();
    driver
        .remove_container(&id, &RemoveOptions::force())
        .await
        .unwrap();
    assert!(driver.world().leftovers("default").is_empty());
}
