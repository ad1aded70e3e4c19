//! What the store, the tracker and the keyed lock cost, small and with 100,000 containers.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use driver_state::{ContainerStore, KeyedMutex, ResourceTracker, Scope};
use driver_types::{Action, ContainerFilter, ResourceLimits};

#[path = "../tests/support/mod.rs"]
mod support;

use support::{insert, instance};

const OWN: Scope<'static> = Scope::Owner("owner");
/// Containers of each session.
const SESSION_SIZE: usize = 10;

fn filled(size: usize) -> ContainerStore<()> {
    let store = ContainerStore::new();
    for number in 0..size {
        let id = format!("id-{number}");
        insert(
            &store,
            "owner",
            instance(&id, &id, &format!("session-{}", number / SESSION_SIZE)),
        );
    }
    store
}

/// The two sizes must cost the same: a list costs by its result.
fn list_by_session(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list_by_session_of_10");
    for size in [1_000, 100_000] {
        let store = filled(size);
        let filter = ContainerFilter::session("session-50");
        assert_eq!(store.list(OWN, &filter).len(), SESSION_SIZE);
        group.bench_function(format!("among_{size}"), |bencher| {
            bencher.iter(|| black_box(store.list(OWN, black_box(&filter))));
        });
    }
}

fn get(criterion: &mut Criterion) {
    let store = filled(100_000);
    criterion.bench_function("get/shared", |bencher| {
        bencher.iter(|| black_box(store.get(OWN, black_box("id-4711"))));
    });
    criterion.bench_function("get/by_value", |bencher| {
        bencher.iter(|| {
            store
                .get(OWN, black_box("id-4711"))
                .map(|instance| (*instance).clone())
        });
    });
}

fn cycle(criterion: &mut Criterion) {
    let owner: Arc<str> = "owner".into();
    for size in [0, 100_000] {
        let store = filled(size);
        criterion.bench_function(
            &format!("reserve_commit_start_stop_remove/beside_{size}"),
            |bencher| {
                bencher.iter(|| {
                    let reservation = store.reserve(&owner, "name", None).expect("the name is free");
                    reservation
                        .commit(instance("id", "name", "session"), ())
                        .expect("it is new");
                    for action in [Action::Start, Action::Stop] {
                        store
                            .transition(OWN, "id", action, |_| ())
                            .expect("the table allows it");
                    }
                    store.remove(OWN, "id")
                });
            },
        );
    }
}

fn tracker(criterion: &mut Criterion) {
    let tracker = ResourceTracker::new(ResourceLimits {
        cpu: 64.0,
        memory: 1 << 20,
        disk: 1 << 20,
        pids: 1 << 20,
    });
    let limits = ResourceLimits::default();
    criterion.bench_function("tracker/allocate_release", |bencher| {
        bencher.iter(|| tracker.allocate(black_box(&limits), 0));
    });
}

fn keyed_mutex(criterion: &mut Criterion) {
    let mutex = KeyedMutex::new();
    criterion.bench_function("keyed_mutex/lock_unlock", |bencher| {
        bencher.iter(|| mutex.try_lock(black_box("id-4711")));
    });
}

criterion_group!(benches, list_by_session, get, cycle, tracker, keyed_mutex);
criterion_main!(benches);
