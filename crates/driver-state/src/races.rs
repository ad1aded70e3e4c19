//! Races on every shared structure, under random schedules (shuttle).

#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};

use driver_types::{
    Action, ContainerFilter, ContainerStatus, Labels, ResourceLimits, Transition, Volume, VolumeConfig,
};
use shuttle::{future, thread};

use crate::{Applied, Conflict, ContainerStore, KeyedMutex, NamedStore, ResourceTracker, Scope};

#[path = "../tests/support/mod.rs"]
mod support;

use support::{insert, instance};

const SCHEDULES: usize = 400;
const OWN: Scope<'static> = Scope::Owner("owner");

fn owner() -> Arc<str> {
    "owner".into()
}

fn store_with(id: &str) -> ContainerStore<()> {
    let store = ContainerStore::new();
    insert(&store, "owner", instance(id, id, "session"));
    store
}

/// Runs the closures as threads and returns their results in order.
fn race<R: Send + 'static>(threads: Vec<Box<dyn FnOnce() -> R + Send>>) -> Vec<R> {
    let handles: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    handles.into_iter().map(|handle| handle.join().unwrap()).collect()
}

#[test]
fn of_racing_creates_of_one_name_exactly_one_wins() {
    shuttle::check_random(
        || {
            let store = ContainerStore::new();
            let creates = (0..3).map(|number| {
                let store = store.clone();
                Box::new(move || {
                    let reservation = store.reserve(&owner(), "web", None)?;
                    thread::yield_now();
                    let id = format!("id-{number}");
                    reservation
                        .commit(instance(&id, "web", "session"), ())
                        .expect("the name is ours");
                    Ok(id)
                }) as Box<dyn FnOnce() -> Result<String, Conflict> + Send>
            });
            let results = race(creates.collect());
            let winners: Vec<_> = results.iter().flatten().collect();
            assert_eq!(winners.len(), 1, "{results:?}");
            assert_eq!(store.count(OWN), 1);
            assert_eq!(
                store
                    .read_by_name("owner", "web", |record| record.instance.id.clone())
                    .as_ref(),
                Some(winners[0])
            );
            for conflict in results.iter().filter_map(|result| result.as_ref().err()) {
                assert!(matches!(conflict, Conflict::Name { .. }), "{conflict:?}");
            }
        },
        SCHEDULES,
    );
}

#[test]
fn of_racing_creates_of_one_request_exactly_one_wins_and_a_dropped_one_frees_it() {
    shuttle::check_random(
        || {
            let store = ContainerStore::<()>::new();
            let reserve = |store: ContainerStore<()>, name: &'static str, commit: bool| {
                Box::new(move || {
                    let Ok(reservation) = store.reserve(&owner(), name, Some("request")) else {
                        return false;
                    };
                    thread::yield_now();
                    commit && reservation.commit(instance(name, name, "session"), ()).is_ok()
                }) as Box<dyn FnOnce() -> bool + Send>
            };
            let results = race(vec![
                reserve(store.clone(), "one", true),
                reserve(store.clone(), "two", true),
                reserve(store.clone(), "three", false),
            ]);
            let winners = results.iter().filter(|won| **won).count();
            assert!(winners <= 1);
            assert_eq!(store.count(OWN), winners);
            // Whoever lost or gave up left nothing behind.
            for (name, won) in ["one", "two", "three"].into_iter().zip(results) {
                assert_eq!(store.reserve(&owner(), name, None).is_err(), won, "{name}");
            }
            assert_eq!(
                store.reserve(&owner(), "four", Some("request")).is_err(),
                winners == 1
            );
        },
        SCHEDULES,
    );
}

#[test]
fn racing_status_changes_follow_the_table_and_keep_the_index() {
    shuttle::check_random(
        || {
            let store = store_with("id");
            // A change runs while the store is locked, so this is the order in which the statuses followed.
            let history = Arc::new(std::sync::Mutex::new(Vec::new()));
            let act = |actions: &'static [Action]| {
                let (store, history) = (store.clone(), Arc::clone(&history));
                Box::new(move || {
                    for action in actions {
                        let _refused_or_not = store.transition(OWN, "id", *action, |container| {
                            history.lock().unwrap().push((*action, *container.status));
                        });
                    }
                }) as Box<dyn FnOnce() + Send>
            };
            race(vec![
                act(&[Action::Start, Action::Pause]),
                act(&[Action::Stop, Action::Start]),
                act(&[Action::Resume, Action::ProcessEnds]),
            ]);
            let mut status = ContainerStatus::Created;
            for (action, next) in history.lock().unwrap().iter() {
                assert_eq!(
                    status.transition(*action),
                    Transition::To(*next),
                    "{action:?} of {status}"
                );
                status = *next;
            }
            let now = store.get(OWN, "id").unwrap();
            assert_eq!((now.status, now.state), (status, status.state()));
            for status in ContainerStatus::ALL {
                let filter = ContainerFilter {
                    status: vec![status],
                    ..ContainerFilter::default()
                };
                assert_eq!(
                    store.list(OWN, &filter).len(),
                    usize::from(status == now.status),
                    "{status}"
                );
            }
        },
        SCHEDULES,
    );
}

#[test]
fn of_racing_removes_exactly_one_takes_the_container_out() {
    shuttle::check_random(
        || {
            let store = store_with("id");
            let remove = |store: ContainerStore<()>| {
                Box::new(move || {
                    store
                        .transition(OWN, "id", Action::RemoveForce, |_| ())
                        .map(|applied| {
                            assert!(matches!(applied, Applied::Removed(_)));
                        })
                }) as Box<dyn FnOnce() -> driver_types::Result<()> + Send>
            };
            let start = {
                let store = store.clone();
                Box::new(move || store.transition(OWN, "id", Action::Start, |_| ()).map(drop)) as Box<_>
            };
            let results = race(vec![remove(store.clone()), remove(store.clone()), start]);
            assert_eq!(results[..2].iter().filter(|result| result.is_ok()).count(), 1);
            for error in results.into_iter().filter_map(Result::err) {
                assert_eq!(error.code(), "CONTAINER_NOT_FOUND");
            }
            assert!(store.list(OWN, &ContainerFilter::session("session")).is_empty());
            assert!(
                store.reserve(&owner(), "id", None).is_ok(),
                "the name is free again"
            );
        },
        SCHEDULES,
    );
}

#[test]
fn racing_allocations_neither_exceed_the_capacity_nor_leak() {
    shuttle::check_random(
        || {
            let part = ResourceLimits {
                cpu: 0.7,
                memory: 10,
                disk: 10,
                pids: 10,
            };
            let tracker = ResourceTracker::new(ResourceLimits {
                cpu: 1.4,
                memory: 100,
                disk: 100,
                pids: 100,
            });
            let holders = Arc::new(AtomicUsize::new(0));
            let allocate = (0..3).map(|_| {
                let (tracker, holders) = (tracker.clone(), Arc::clone(&holders));
                Box::new(move || {
                    let Ok(allocation) = tracker.allocate(&part, 0) else {
                        return;
                    };
                    assert!(holders.fetch_add(1, SeqCst) < 2, "three times 0.7 of 1.4 cores");
                    thread::yield_now();
                    holders.fetch_sub(1, SeqCst);
                    let id = allocation.id();
                    // Released twice, by id and by its guard: only the first counts.
                    tracker.deallocate(id).unwrap();
                    drop(allocation);
                    assert!(tracker.deallocate(id).is_err());
                }) as Box<dyn FnOnce() + Send>
            });
            race(allocate.collect());
            let usage = tracker.usage();
            assert_eq!(
                (usage.allocations, usage.used.cpu, usage.used.memory),
                (0, 0.0, 0)
            );
        },
        SCHEDULES,
    );
}

/// Whether it is through.
fn poll_once(future: Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn a_key_has_one_holder_and_is_passed_on_past_those_who_gave_up() {
    shuttle::check_random(
        || {
            let mutex = KeyedMutex::new();
            let inside = Arc::new(AtomicUsize::new(0));
            let work = |gives_up: bool| {
                let (mutex, inside) = (mutex.clone(), Arc::clone(&inside));
                future::spawn(async move {
                    if gives_up {
                        // Waits once, then drops the future, with or without the guard in its mailbox.
                        let mut waiting = Box::pin(mutex.lock("key"));
                        let ready = poll_once(waiting.as_mut());
                        future::yield_now().await;
                        drop(waiting);
                        // A guard that came at once is gone with the future; its key was passed on.
                        return ready;
                    }
                    let guard = mutex.lock("key").await;
                    assert_eq!(inside.fetch_add(1, SeqCst), 0, "two holders of one key");
                    future::yield_now().await;
                    inside.fetch_sub(1, SeqCst);
                    drop(guard);
                    true
                })
            };
            let tasks = [work(false), work(true), work(false), work(true)];
            future::block_on(async {
                for task in tasks {
                    task.await.unwrap();
                }
            });
            assert_eq!(mutex.locked(), 0, "an unused key costs nothing");
        },
        SCHEDULES,
    );
}

#[test]
fn a_key_is_passed_on_in_the_order_of_arrival() {
    shuttle::check_random(
        || {
            let mutex = KeyedMutex::new();
            let holder = mutex.try_lock("key").unwrap();
            let order = Arc::new(crate::sync::Mutex::new(Vec::new()));
            let tasks: Vec<_> = (0..3)
                .map(|number| {
                    let (mutex, order) = (mutex.clone(), Arc::clone(&order));
                    // It arrives here, and waits in a task of its own.
                    let mut waiting = Box::pin(async move { mutex.lock("key").await });
                    assert!(!poll_once(waiting.as_mut()));
                    future::spawn(async move {
                        let _guard = waiting.await;
                        crate::sync::lock(&order).push(number);
                    })
                })
                .collect();
            drop(holder);
            future::block_on(async {
                for task in tasks {
                    task.await.unwrap();
                }
            });
            assert_eq!(*crate::sync::lock(&order), [0, 1, 2]);
        },
        SCHEDULES,
    );
}

fn volume(name: &str) -> Volume {
    Volume {
        id: name.to_owned(),
        name: name.to_owned(),
        driver: "test".to_owned(),
        labels: Labels::new(),
        created_at: 1,
        size_mib: None,
        mountpoint: None,
    }
}

#[test]
fn a_volume_is_either_removed_or_held() {
    shuttle::check_random(
        || {
            let volumes = NamedStore::<Volume>::new();
            let spec = VolumeConfig::new("data");
            let builds = Arc::new(AtomicUsize::new(0));
            let create = |volumes: NamedStore<Volume>, builds: Arc<AtomicUsize>, spec: VolumeConfig| {
                Box::new(move || {
                    let build = || {
                        builds.fetch_add(1, SeqCst);
                        volume("data")
                    };
                    volumes.create(&owner(), "data", &spec, build).is_ok()
                }) as Box<dyn FnOnce() -> bool + Send>
            };
            let created = race(vec![
                create(volumes.clone(), Arc::clone(&builds), spec.clone()),
                create(volumes.clone(), Arc::clone(&builds), spec.clone()),
            ]);
            assert_eq!((created, builds.load(SeqCst)), (vec![true, true], 1));

            let hold = {
                let volumes = volumes.clone();
                Box::new(move || {
                    volumes
                        .hold(&owner(), "container", ["data"])
                        .map(crate::Hold::keep)
                        .is_ok()
                }) as Box<dyn FnOnce() -> bool + Send>
            };
            let remove = {
                let volumes = volumes.clone();
                Box::new(move || volumes.remove(OWN, "data").is_ok()) as Box<_>
            };
            let results = race(vec![hold, remove]);
            assert_ne!(results[0], results[1], "held and removed, or neither");
        },
        SCHEDULES,
    );
}
